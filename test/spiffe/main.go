// A workload as SPIFFE's own Go library has it: fetches and watches identities at the socket of SPIFFE_ENDPOINT_SOCKET,
// and serves and calls over mutual TLS with them.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const limit = 20 * time.Second

func say(value any) {
	text, err := json.Marshal(value)
	check(err)
	fmt.Println(string(text))
}

func check(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func describe(one *workloadapi.X509Context) map[string]any {
	svid := one.DefaultSVID()
	bundle, err := one.Bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	check(err)
	return map[string]any{
		"spiffeId": svid.ID.String(),
		"serial":   svid.Certificates[0].SerialNumber.Text(16),
		"roots":    len(bundle.X509Authorities()),
		"notAfter": svid.Certificates[0].NotAfter.UnixMilli(),
	}
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(one *workloadapi.X509Context) { say(describe(one)) }

func (watcher) OnX509ContextWatchError(err error) { fmt.Fprintln(os.Stderr, err) }

func fetch() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	one, err := workloadapi.FetchX509Context(ctx)
	check(err)
	bundles, err := workloadapi.FetchX509Bundles(ctx)
	check(err)
	said := describe(one)
	said["bundles"] = bundles.Len()
	say(said)
}

func source() *workloadapi.X509Source {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	made, err := workloadapi.NewX509Source(ctx)
	check(err)
	return made
}

// Answers each caller with the id that it has shown.
// @param address where, and what is spoken there: nothing for any port, and for HTTP as everybody speaks it.
func serve(caller, address, alpn string) {
	id := spiffeid.RequireFromString(caller)
	made := source()
	config := tlsconfig.MTLSServerConfig(made, made, tlsconfig.AuthorizeID(id))
	if address == "" {
		address, alpn = "127.0.0.1:0", "http/1.1"
	}
	config.NextProtos = []string{alpn}
	listener, err := tls.Listen("tcp", address, config)
	check(err)
	say(map[string]any{"address": listener.Addr().String()})
	answer := func(w http.ResponseWriter, r *http.Request) {
		state := r.Context().Value(connectionKey{}).(hidden).ConnectionState()
		fmt.Fprintf(w, "you are %s", state.PeerCertificates[0].URIs[0])
	}
	server := http.Server{
		Handler: http.HandlerFunc(answer),
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, connection)
		},
	}
	check(server.Serve(hiding{listener}))
}

type connectionKey struct{}

// Go's server ends connections of protocols that it does not know: so it is not shown that they are of TLS.
type hidden struct{ *tls.Conn }

type hiding struct{ net.Listener }

func (one hiding) Accept() (net.Conn, error) {
	connection, err := one.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hidden{connection.(*tls.Conn)}, nil
}

// @param alpn what is offered: the sidecars of the mesh have words of their own.
func call(address, server, alpn string) {
	id := spiffeid.RequireFromString(server)
	made := source()
	config := tlsconfig.MTLSClientConfig(made, made, tlsconfig.AuthorizeID(id))
	config.NextProtos = []string{alpn}
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		},
	}
	client := http.Client{Transport: transport, Timeout: limit}
	response, err := client.Get("https://" + address + "/")
	check(err)
	body, err := io.ReadAll(response.Body)
	check(err)
	say(map[string]any{"status": response.StatusCode, "body": string(body)})
}

func token(audience string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	made, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	check(err)
	bundles, err := workloadapi.FetchJWTBundles(ctx)
	check(err)
	own, err := jwtsvid.ParseAndValidate(made.Marshal(), bundles, []string{audience})
	check(err)
	judged, err := workloadapi.ValidateJWTSVID(ctx, made.Marshal(), audience)
	check(err)
	say(map[string]any{"token": made.Marshal(), "own": own.ID.String(), "judged": judged.ID.String()})
}

// Judges a token of whatever trust domain: by the keys that are fetched here, and by who has them.
func judge(text, audience string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	bundles, err := workloadapi.FetchJWTBundles(ctx)
	check(err)
	own, err := jwtsvid.ParseAndValidate(text, bundles, []string{audience})
	check(err)
	judged, err := workloadapi.ValidateJWTSVID(ctx, text, audience)
	check(err)
	say(map[string]any{"own": own.ID.String(), "judged": judged.ID.String(), "bundles": bundles.Len()})
}

// Fetches a bundle from a bundle endpoint, as another trust domain would.
// @param file the bundle of that trust domain to begin with; of a PEM file, the roots of the endpoint's name.
func federate(url, server, file string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	id := spiffeid.RequireFromString(server)
	known, err := spiffebundle.Load(id.TrustDomain(), file)
	option := federation.WithSPIFFEAuth(known, id)
	if err != nil {
		text, err := os.ReadFile(file)
		check(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		option = federation.WithWebPKIRoots(roots)
	}
	bundle, err := federation.FetchBundle(ctx, id.TrustDomain(), url, option)
	check(err)
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	say(map[string]any{
		"roots":    len(bundle.X509Authorities()),
		"keys":     len(bundle.JWTAuthorities()),
		"sequence": sequence,
		"hint":     hint.Seconds(),
	})
}

func main() {
	arguments := append(os.Args[1:], "", "", "", "")
	switch arguments[0] {
	case "fetch":
		fetch()
	case "watch":
		check(workloadapi.WatchX509Context(context.Background(), watcher{}))
	case "serve":
		serve(arguments[1], arguments[2], arguments[3])
	case "call":
		call(arguments[1], arguments[2], arguments[3])
	case "token":
		token(arguments[1])
	case "judge":
		judge(arguments[1], arguments[2])
	case "federate":
		federate(arguments[1], arguments[2], arguments[3])
	default:
		check(fmt.Errorf("write fetch, watch, serve ID [ADDRESS ALPN], call ADDRESS ID ALPN, token AUDIENCE, judge TOKEN AUDIENCE, or federate URL ID FILE"))
	}
}
