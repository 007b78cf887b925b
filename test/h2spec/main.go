// The program h2spec puts an HTTP/2 peer through the cases of h2spec: "server PORT" a server, "client" a client that is asked to connect to one port after the other.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"
)

const host = "127.0.0.1"

// How long a peer may take for what it has to answer, and is watched where it does not.
const timeout = 5 * time.Second

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "server":
		testServer(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "client":
		testClient()
	default:
		fail("usage: h2spec server PORT | h2spec client")
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}

// Says in words what passed and what failed; ends with 1 if anything failed.
func testServer(text string) {
	port, err := strconv.Atoi(text)
	if err != nil {
		fail(err.Error())
	}
	isRight, err := h2spec.Run(&config.Config{
		Host: host, Port: port, Path: "/", Timeout: timeout, MaxHeaderLen: 4000, Strict: true,
	})
	if err != nil {
		fail(err.Error())
	}
	if !isRight {
		os.Exit(1)
	}
}

type verdict struct {
	// Where the next connection is expected; 0 in what was found.
	Port  int    `json:"port,omitempty"`
	Title string `json:"title"`
	// Empty when the case passed.
	Error string `json:"error"`
}

// Says in lines of JSON where to connect to, then what was found.
func testClient() {
	out := json.NewEncoder(os.Stdout)
	for _, one := range casesOf(client.Spec()) {
		title := fmt.Sprintf("%s %d: %s", one.Parent.ID(), one.Seq, one.Desc)
		listener, err := net.Listen("tcp", host+":0")
		if err != nil {
			fail(err.Error())
		}
		out.Encode(verdict{Port: listener.Addr().(*net.TCPAddr).Port, Title: title})
		result := verdict{Title: title}
		if err := testOne(one, listener); err != nil {
			result.Error = err.Error()
			if failed, is := err.(*spec.TestError); is {
				result.Error = fmt.Sprintf("expected %v, got %s", failed.Expected, failed.Actual)
			}
		}
		out.Encode(result)
	}
}

func casesOf(group *spec.ClientTestGroup) []*spec.ClientTestCase {
	cases := group.Tests
	for _, one := range group.Groups {
		cases = append(cases, casesOf(one)...)
	}
	return cases
}

func testOne(one *spec.ClientTestCase, listener net.Listener) error {
	defer listener.Close()
	listener.(*net.TCPListener).SetDeadline(time.Now().Add(timeout))
	accepted, err := listener.Accept()
	if err != nil {
		return err
	}
	defer accepted.Close()
	settings := &config.Config{Host: host, Timeout: timeout, MaxHeaderLen: 4000}
	conn, err := spec.Accept(settings, accepted)
	if err != nil {
		return err
	}
	return one.Run(settings, conn)
}
