// Serves gRPC and TCP for the benchmark, and loads servers with gRPC, TCP and new connections: a process of either kind, spoken to in lines of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// A line of JSON may hold certificates.
const maxLine = 1 << 20

func main() {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		fail(serve())
	}
	if len(os.Args) == 2 && os.Args[1] == "load" {
		fail(load())
	}
	fail(fmt.Errorf("cannot run %q: serve or load", os.Args[1:]))
}

// fail ends the process: with 1 and the reason, or with 0 when there is none.
func fail(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}

// lines calls each for every line of the standard input; its end is the parent's.
func lines(each func(line []byte) error) error {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		if err := each(scanner.Bytes()); err != nil {
			return err
		}
	}
	return scanner.Err()
}

func serve() error {
	grpcAddress, err := serveGrpc()
	if err != nil {
		return err
	}
	tcpAddress, err := serveTcp()
	if err != nil {
		return err
	}
	if err := say(map[string]string{"grpc": grpcAddress, "tcp": tcpAddress}); err != nil {
		return err
	}
	return lines(func([]byte) error { return nil })
}

func load() error {
	if err := say("ready"); err != nil {
		return err
	}
	return lines(func(line []byte) error {
		var job job
		if err := json.Unmarshal(line, &job); err != nil {
			return fmt.Errorf("cannot read a job: %w", err)
		}
		result, err := run(job)
		if err != nil {
			return err
		}
		return say(result)
	})
}
