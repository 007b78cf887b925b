// gRPC programs as anybody writes them, with their configuration by xds:///: a server that answers every method, and a
// client that makes the calls it is told on standard input. Both say a JSON object a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/xds"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var said sync.Mutex

func say(value any) {
	text, err := json.Marshal(value)
	check(err)
	said.Lock()
	defer said.Unlock()
	fmt.Println(string(text))
}

func check(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func peerOf(ctx context.Context) string {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if info, ok := from.AuthInfo.(credentials.TLSInfo); ok && info.SPIFFEID != nil {
		return info.SPIFFEID.String()
	}
	return ""
}

// Calls of a method whose name begins with Fail are UNAVAILABLE so many times as the text after a colon says.
type failures struct {
	lock sync.Mutex
	left map[string]int
}

func (f *failures) next(text string) bool {
	_, count, found := strings.Cut(text, ":")
	if !found {
		return false
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, known := f.left[text]; !known {
		f.left[text], _ = strconv.Atoi(count)
	}
	f.left[text]--
	return f.left[text] >= 0
}

func handler(name string, failing *failures) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		ctx := stream.Context()
		method, _ := grpc.Method(ctx)
		var request wrapperspb.StringValue
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(method, "/Slow"):
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		case strings.HasSuffix(method, "/Fail") && failing.next(request.Value):
			return status.Error(codes.Unavailable, "not yet")
		}
		return stream.SendMsg(wrapperspb.String(name + " " + peerOf(ctx)))
	}
}

func serve(args []string) {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "")
	name := flags.String("name", "go", "")
	plain := flags.Bool("plain", false, "without xDS")
	check(flags.Parse(args))
	listener, err := net.Listen("tcp", *listen)
	check(err)
	answer := grpc.UnknownServiceHandler(handler(*name, &failures{left: map[string]int{}}))
	if *plain {
		say(map[string]any{"address": listener.Addr().String()})
		check(grpc.NewServer(answer).Serve(listener))
		return
	}
	creds, err := xdscreds.NewServerCredentials(xdscreds.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	check(err)
	modes := xds.ServingModeCallback(func(at net.Addr, change xds.ServingModeChangeArgs) {
		why := ""
		if change.Err != nil {
			why = change.Err.Error()
		}
		say(map[string]any{"mode": change.Mode.String(), "why": why})
	})
	server, err := xds.NewGRPCServer(grpc.Creds(creds), answer, modes)
	check(err)
	say(map[string]any{"address": listener.Addr().String()})
	check(server.Serve(listener))
}

type order struct {
	Id       int               `json:"id"`
	Target   string            `json:"target"`
	Method   string            `json:"method"`
	Value    string            `json:"value"`
	Headers  map[string]string `json:"headers"`
	TimeMs   int               `json:"timeMs"`
	Count    int               `json:"count"`
	Waits    bool              `json:"waits"`
	FreshOne bool              `json:"fresh"`
}

type caller struct {
	lock     sync.Mutex
	channels map[string]*grpc.ClientConn
}

func dial(target string) *grpc.ClientConn {
	creds, err := xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
	check(err)
	channel, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	check(err)
	return channel
}

func (c *caller) channel(target string) *grpc.ClientConn {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.channels[target] == nil {
		c.channels[target] = dial(target)
	}
	return c.channels[target]
}

func (c *caller) run(one order) {
	channel := c.channel(one.Target)
	if one.FreshOne {
		channel = dial(one.Target)
		defer channel.Close()
	}
	if channel.GetState() == connectivity.Idle {
		channel.Connect()
	}
	codesSeen := []string{}
	values := []string{}
	message := ""
	begun := time.Now()
	for range max(one.Count, 1) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(max(one.TimeMs, 1))*time.Millisecond)
		ctx = metadata.NewOutgoingContext(ctx, metadata.New(one.Headers))
		var reply wrapperspb.StringValue
		err := channel.Invoke(ctx, one.Method, wrapperspb.String(one.Value), &reply, grpc.WaitForReady(one.Waits))
		cancel()
		codesSeen = append(codesSeen, strings.ToUpper(status.Code(err).String()))
		values = append(values, reply.Value)
		if err != nil {
			message = status.Convert(err).Message()
		}
	}
	say(map[string]any{"id": one.Id, "codes": codesSeen, "values": values, "message": message, "tookMs": time.Since(begun).Milliseconds()})
}

func call() {
	state := &caller{channels: map[string]*grpc.ClientConn{}}
	say(map[string]any{"ready": true})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var one order
		check(json.Unmarshal(lines.Bytes(), &one))
		go state.run(one)
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "server" {
		serve(os.Args[2:])
		return
	}
	call()
}
