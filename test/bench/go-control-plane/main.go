// Command go-control-plane is the peer that Weft's control plane is measured beside: a small xDS server on the library
// of that name, used as its own example does, with one snapshot for each group of proxies that are configured alike.
//
// What it serves comes on standard input, encoded already: there is no mesh here, and no policy is compiled.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// maxConcurrentStreams and the keepalive times are those of the library's example.
const (
	maxConcurrentStreams = 1_000_000
	keepaliveTime        = 30 * time.Second
	keepaliveTimeout     = 5 * time.Second
)

// byGroup is the node hash: replicas of one Deployment say the same cluster and share a snapshot.
type byGroup struct{}

func (byGroup) ID(node *core.Node) string { return node.GetCluster() }

func main() {
	log.SetFlags(0)
	cert := flag.String("cert", "", "file with the server's certificate chain")
	key := flag.String("key", "", "file with its key")
	roots := flag.String("roots", "", "file with the roots of the clients' certificates")
	flag.Parse()
	if err := run(*cert, *key, *roots); err != nil {
		log.Fatal(err)
	}
}

func run(cert, key, roots string) error {
	config, err := tlsConfig(cert, key, roots)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	snapshots := cache.NewSnapshotCache(false, byGroup{}, quiet{})
	handler := server.NewServer(context.Background(), snapshots, nil)
	grpcServer := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
	)
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, handler)
	failed := make(chan error, 2)
	go func() { failed <- grpcServer.Serve(listener) }()
	go func() { failed <- follow(snapshots, os.Stdin, json.NewEncoder(os.Stdout)) }()
	ready := map[string]string{"xds": listener.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	return <-failed
}

func tlsConfig(cert, key, roots string) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot read %s: no certificates", roots)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{own},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, nil
}

// follow takes changes, each a length and a DeltaDiscoveryResponse whose resources name their groups as aliases, and
// says when each has been given to the cache. It ends with its input, and the server with it.
func follow(snapshots cache.SnapshotCache, input io.Reader, said *json.Encoder) error {
	reader := bufio.NewReader(input)
	groups := map[string]*cache.Snapshot{}
	for {
		var length uint32
		if err := binary.Read(reader, binary.BigEndian, &length); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(reader, body); err != nil {
			return err
		}
		var change discovery.DeltaDiscoveryResponse
		if err := proto.Unmarshal(body, &change); err != nil {
			return err
		}
		if err := apply(snapshots, groups, &change); err != nil {
			return err
		}
		if err := said.Encode(map[string]string{"applied": change.GetSystemVersionInfo()}); err != nil {
			return err
		}
	}
}

// perType holds what changed of a group, by the kind of resource.
type perType map[types.ResponseType][]types.Resource

func apply(
	snapshots cache.SnapshotCache,
	groups map[string]*cache.Snapshot,
	change *discovery.DeltaDiscoveryResponse,
) error {
	changed := map[string]perType{}
	for _, entry := range change.GetResources() {
		resource, err := entry.GetResource().UnmarshalNew()
		if err != nil {
			return err
		}
		kind := cache.GetResponseType(entry.GetResource().GetTypeUrl())
		for _, group := range entry.GetAliases() {
			if changed[group] == nil {
				changed[group] = perType{}
			}
			changed[group][kind] = append(changed[group][kind], resource)
		}
	}
	for group, kinds := range changed {
		next := merge(groups[group], kinds, change.GetSystemVersionInfo())
		groups[group] = next
		if err := snapshots.SetSnapshot(context.Background(), group, next); err != nil {
			return err
		}
	}
	return nil
}

// merge makes the next snapshot. Kinds of which nothing changed keep their version: state-of-the-world streams are not
// told of them again.
func merge(previous *cache.Snapshot, changed perType, version string) *cache.Snapshot {
	next := &cache.Snapshot{}
	if previous != nil {
		next.Resources = previous.Resources
	}
	for kind, resources := range changed {
		items := maps.Clone(next.Resources[kind].Items)
		fresh := cache.NewResources(version, slices.Clone(resources))
		if items == nil {
			items = fresh.Items
		} else {
			maps.Copy(items, fresh.Items)
		}
		next.Resources[kind] = cache.Resources{Version: version, Items: items}
	}
	return next
}

// quiet says what went wrong, and nothing else: lines about each watch would be measured too.
type quiet struct{}

func (quiet) Debugf(string, ...any) {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Warnf(format string, args ...any) {
	log.Printf(format, args...)
}
func (quiet) Errorf(format string, args ...any) {
	log.Printf(format, args...)
}
