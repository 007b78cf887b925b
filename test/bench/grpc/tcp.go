// Raw TCP on both ends: a connection says in its first bytes whether it is echoed, filled or drained.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	modeEcho = 'e'
	modeDown = 'd'
	modeUp   = 'u'
	// The mode, then how many bytes: of a message, or of the transfer.
	headBytes = 9
	pieceSize = 64 << 10
	maxEcho   = 1 << 20
)

func serveTcp() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				fail(err)
			}
			// A peer that goes away is how every connection ends.
			go func() {
				defer connection.Close()
				_ = answer(connection)
			}()
		}
	}()
	return listener.Addr().String(), nil
}

func answer(connection net.Conn) error {
	head := make([]byte, headBytes)
	if _, err := io.ReadFull(connection, head); err != nil {
		return err
	}
	size := binary.BigEndian.Uint64(head[1:])
	switch head[0] {
	case modeEcho:
		return echoMessages(connection, size)
	case modeDown:
		return fill(connection, size)
	case modeUp:
		if err := drain(connection, size); err != nil {
			return err
		}
		_, err := connection.Write([]byte{modeUp})
		return err
	}
	return fmt.Errorf("cannot answer mode %q", head[0])
}

func echoMessages(connection net.Conn, size uint64) error {
	if size > maxEcho {
		return errors.New("too long a message")
	}
	message := make([]byte, size)
	for {
		if _, err := io.ReadFull(connection, message); err != nil {
			return err
		}
		if _, err := connection.Write(message); err != nil {
			return err
		}
	}
}

func fill(connection net.Conn, size uint64) error {
	piece := make([]byte, pieceSize)
	for left := size; left > 0; {
		n := min(left, pieceSize)
		if _, err := connection.Write(piece[:n]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// By pieces and without splice, as an application reads.
func drain(connection net.Conn, size uint64) error {
	piece := make([]byte, pieceSize)
	for left := size; left > 0; {
		n, err := connection.Read(piece[:min(left, pieceSize)])
		if err != nil {
			return fmt.Errorf("%d bytes before the end: %w", left, err)
		}
		left -= uint64(n)
	}
	return nil
}

func open(of job, mode byte) (net.Conn, error) {
	connection, err := net.Dial("tcp", of.Address)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(answerWithin + time.Duration(of.DurationMs)*time.Millisecond)
	if err := connection.SetDeadline(deadline); err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint64([]byte{mode}, uint64(of.Bytes))
	_, err = connection.Write(head)
	return connection, err
}

func loadPing(of job) (result, error) {
	pace := newPacer(of)
	return workers(of.Connections, func(_ int, t *tally) {
		if err := ping(of, pace, t); err != nil {
			t.failed(err)
		}
	}), nil
}

func ping(of job, pace *pacer, t *tally) error {
	connection, err := open(of, modeEcho)
	if err != nil {
		return err
	}
	defer connection.Close()
	message := make([]byte, of.Bytes)
	for due, isDue := pace.due(); isDue; due, isDue = pace.due() {
		if _, err := connection.Write(message); err != nil {
			return err
		}
		if _, err := io.ReadFull(connection, message); err != nil {
			return err
		}
		t.answered(due)
	}
	return nil
}

// A connection for each transfer; one that was begun is carried to its end.
func loadBulk(of job) (result, error) {
	pace := newPacer(of)
	return workers(of.Connections, func(_ int, t *tally) {
		for due, isDue := pace.due(); isDue; due, isDue = pace.due() {
			if err := transfer(of); err != nil {
				t.failed(err)
				return
			}
			t.answered(due)
		}
	}), nil
}

func transfer(of job) error {
	mode := byte(modeDown)
	if of.Kind == "tcp-up" {
		mode = modeUp
	}
	connection, err := open(of, mode)
	if err != nil {
		return err
	}
	defer connection.Close()
	if mode == modeDown {
		return drain(connection, uint64(of.Bytes))
	}
	if err := fill(connection, uint64(of.Bytes)); err != nil {
		return err
	}
	_, err = io.ReadFull(connection, make([]byte, 1))
	return err
}
