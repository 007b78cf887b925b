// Drives go-control-plane's own client as it is told on standard input, and says as a JSON object a line what came of each command.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	sotw "github.com/envoyproxy/go-control-plane/pkg/client/sotw/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

// A line of standard input: `open` (node, type), `fetch`, `ack`, `nack` (message), each of the stream that it names.
type command struct {
	Do      string `json:"do"`
	Stream  string `json:"stream"`
	Node    string `json:"node"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

type answer struct {
	Resources []json.RawMessage `json:"resources"`
	Error     string            `json:"error,omitempty"`
	// What the client says of the error: whether it has to connect anew.
	IsConnection bool `json:"isConnection,omitempty"`
}

const deadline = 30 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	streams := map[string]sotw.ADSClient{}
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var asked command
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if asked.Do == "open" {
			streams[asked.Stream] = sotw.NewADSClient(ctx, &core.Node{Id: asked.Node, UserAgentName: "go-control-plane"}, asked.Type)
		}
		said, err := run(streams[asked.Stream], connection, asked)
		if err != nil {
			said = answer{Error: err.Error(), IsConnection: sotw.IsConnError(err)}
		}
		if err := out.Encode(said); err != nil {
			os.Exit(1)
		}
	}
}

func run(client sotw.ADSClient, connection *grpc.ClientConn, asked command) (answer, error) {
	switch asked.Do {
	case "open":
		return answer{}, client.InitConnect(connection)
	case "ack":
		return answer{}, client.Ack()
	case "nack":
		return answer{}, client.Nack(asked.Message)
	case "fetch":
		response, err := client.Fetch()
		if err != nil {
			return answer{}, err
		}
		return read(response.Resources)
	default:
		return answer{}, fmt.Errorf("no such command: %q", asked.Do)
	}
}

// As protobuf's JSON of an Any, read by Envoy's own types.
func read(resources []*anypb.Any) (answer, error) {
	said := answer{Resources: []json.RawMessage{}}
	for _, resource := range resources {
		text, err := protojson.Marshal(resource)
		if err != nil {
			return answer{}, err
		}
		said.Resources = append(said.Resources, text)
	}
	return said, nil
}
