// gRPC on both ends: a service that answers with bytes, and the load that counts its answers or the messages of its streams.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	unaryMethod        = "/weft.bench.Echo/Unary"
	serverStreamMethod = "/weft.bench.Echo/ServerStream"
	bidiMethod         = "/weft.bench.Echo/Bidi"
	// Messages of one server stream: enough that opening it does not count, few enough that a round has many.
	messagesOfStream = 500
	// The service's name as its callers know it.
	authority = "prices.shop"
	// What is not answered by then has failed.
	answerWithin = 20 * time.Second
)

type echo struct{}

// A handler gives back what it was sent.
func (echo) unary(_ context.Context, message *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return message, nil
}

func unaryHandler(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	message := new(wrapperspb.BytesValue)
	if err := decode(message); err != nil {
		return nil, err
	}
	return echo{}.unary(ctx, message)
}

func serverStream(_ any, stream grpc.ServerStream) error {
	message := new(wrapperspb.BytesValue)
	if err := stream.RecvMsg(message); err != nil {
		return err
	}
	for range messagesOfStream {
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
	return nil
}

func bidi(_ any, stream grpc.ServerStream) error {
	for {
		message := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}

var (
	serverStreamDesc = grpc.StreamDesc{StreamName: "ServerStream", Handler: serverStream, ServerStreams: true}
	bidiDesc         = grpc.StreamDesc{StreamName: "Bidi", Handler: bidi, ServerStreams: true, ClientStreams: true}
	serviceDesc      = grpc.ServiceDesc{
		ServiceName: "weft.bench.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Unary", Handler: unaryHandler},
		},
		Streams: []grpc.StreamDesc{serverStreamDesc, bidiDesc},
	}
)

// serveGrpc returns its address.
func serveGrpc() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	// Workers are kept: starting one for each call costs more than the call.
	server := grpc.NewServer(grpc.NumStreamWorkers(2))
	server.RegisterService(&serviceDesc, echo{})
	go func() { fail(server.Serve(listener)) }()
	return listener.Addr().String(), nil
}

// connect opens the job's connections; what is asked before they are there waits.
func connect(of job) ([]*grpc.ClientConn, func(), error) {
	connections := make([]*grpc.ClientConn, 0, of.Connections)
	closeAll := func() {
		for _, connection := range connections {
			connection.Close()
		}
	}
	for range of.Connections {
		connection, err := grpc.NewClient("passthrough:///"+of.Address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		connections = append(connections, connection)
		connection.Connect()
	}
	return connections, closeAll, nil
}

// onConnections runs the job's streams on each of its connections.
func onConnections(of job, work func(connection *grpc.ClientConn, t *tally)) (result, error) {
	connections, closeAll, err := connect(of)
	if err != nil {
		return result{}, err
	}
	defer closeAll()
	return workers(of.Connections*of.Streams, func(at int, t *tally) {
		work(connections[at%of.Connections], t)
	}), nil
}

func messageOf(of job) *wrapperspb.BytesValue {
	return wrapperspb.Bytes(make([]byte, of.Bytes))
}

func checkAnswer(of job, answer *wrapperspb.BytesValue) error {
	if len(answer.Value) != of.Bytes {
		return fmt.Errorf("an answer of %d bytes", len(answer.Value))
	}
	return nil
}

func loadUnary(of job) (result, error) {
	pace := newPacer(of)
	message := messageOf(of)
	return onConnections(of, func(connection *grpc.ClientConn, t *tally) {
		for due, isDue := pace.due(); isDue; due, isDue = pace.due() {
			ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
			answer := new(wrapperspb.BytesValue)
			err := connection.Invoke(ctx, unaryMethod, message, answer)
			cancel()
			if err == nil {
				err = checkAnswer(of, answer)
			}
			if err != nil {
				t.failed(err)
				return
			}
			t.answered(due)
		}
	})
}

// A message's time is from the one before.
func loadServerStream(of job) (result, error) {
	pace := newPacer(of)
	return onConnections(of, func(connection *grpc.ClientConn, t *tally) {
		for _, isDue := pace.due(); isDue; _, isDue = pace.due() {
			if err := readStream(of, connection, t); err != nil {
				t.failed(err)
				return
			}
		}
	})
}

func readStream(of job, connection *grpc.ClientConn, t *tally) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	stream, err := connection.NewStream(ctx, &serverStreamDesc, serverStreamMethod)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(messageOf(of)); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for count := 0; ; count++ {
		since := time.Now()
		answer := new(wrapperspb.BytesValue)
		err := stream.RecvMsg(answer)
		if errors.Is(err, io.EOF) && count == messagesOfStream {
			return nil
		}
		if err == nil {
			err = checkAnswer(of, answer)
		}
		if err != nil {
			return fmt.Errorf("after %d messages: %w", count, err)
		}
		t.answered(since)
	}
}

// Each stream has one message under way, there and back.
func loadBidi(of job) (result, error) {
	pace := newPacer(of)
	message := messageOf(of)
	return onConnections(of, func(connection *grpc.ClientConn, t *tally) {
		if err := talk(of, connection, func(stream grpc.ClientStream) error {
			for due, isDue := pace.due(); isDue; due, isDue = pace.due() {
				if err := stream.SendMsg(message); err != nil {
					return err
				}
				answer := new(wrapperspb.BytesValue)
				if err := stream.RecvMsg(answer); err != nil {
					return err
				}
				if err := checkAnswer(of, answer); err != nil {
					return err
				}
				t.answered(due)
			}
			return nil
		}); err != nil {
			t.failed(err)
		}
	})
}

// talk ends the stream as both sides expect it.
func talk(of job, connection *grpc.ClientConn, say func(stream grpc.ClientStream) error) error {
	within := answerWithin + time.Duration(of.DurationMs)*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	stream, err := connection.NewStream(ctx, &bidiDesc, bidiMethod)
	if err != nil {
		return err
	}
	if err := say(stream); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(new(wrapperspb.BytesValue)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("no end of the stream: %w", err)
	}
	return nil
}
