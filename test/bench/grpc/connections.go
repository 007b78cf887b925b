// Loads a server with new connections, one request on each: plain, with a full handshake, or resumed by the ticket of the one before.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

func loadConnections(of job) (result, error) {
	if of.HTTP == nil {
		return result{}, errors.New("cannot open connections: the job names no path")
	}
	pace := newPacer(of)
	configs := make([]*tls.Config, of.Connections)
	if of.TLS != nil {
		for at := range configs {
			config, err := clientConfig(of.TLS)
			if err != nil {
				return result{}, err
			}
			configs[at] = config
		}
	}
	return workers(of.Connections, func(at int, t *tally) {
		// The first of a worker has no ticket yet.
		isFirst := true
		for due, isDue := pace.due(); isDue; due, isDue = pace.due() {
			isResumed, err := once(of, configs[at])
			if err == nil && !isFirst && of.TLS != nil && isResumed != of.TLS.IsResumed {
				err = fmt.Errorf("the connection was resumed: %t", isResumed)
			}
			if err != nil {
				t.failed(err)
				return
			}
			isFirst = false
			if isResumed {
				t.resumed++
			}
			t.answered(due)
		}
	}), nil
}

func clientConfig(of *tlsOfJob) (*tls.Config, error) {
	own, err := tls.X509KeyPair([]byte(of.ChainPem), []byte(of.KeyPem))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(of.BundlePem)) {
		return nil, errors.New("cannot read the roots")
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{own},
		RootCAs:      roots,
		MinVersion:   tls.VersionTLS13,
		// The same for every peer, whatever each would like best.
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{of.Alpn},
		// Names of the mesh are URIs: the chain is verified below, and who it names.
		InsecureSkipVerify: true,
		VerifyConnection:   func(state tls.ConnectionState) error { return verifyPeer(state, roots, of.ServerId) },
	}
	if of.IsResumed {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		config.ServerName = authority
	}
	return config, nil
}

func verifyPeer(state tls.ConnectionState, roots *x509.CertPool, serverId string) error {
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		return err
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != serverId {
		return fmt.Errorf("the server is %v", leaf.URIs)
	}
	return nil
}

// once connects, asks and closes.
func once(of job, config *tls.Config) (bool, error) {
	raw, err := net.Dial("tcp", of.Address)
	if err != nil {
		return false, err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return false, err
	}
	if config == nil {
		return false, ask(of.HTTP, raw)
	}
	connection := tls.Client(raw, config)
	if err := connection.Handshake(); err != nil {
		return false, err
	}
	return connection.ConnectionState().DidResume, ask(of.HTTP, connection)
}

func ask(of *httpOfJob, connection net.Conn) error {
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n", of.Path, of.Authority)
	if _, err := connection.Write([]byte(request)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}
