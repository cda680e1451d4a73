// ws is a WebSocket client for tests and terminals: each message that comes is a line on stdout, each line of stdin is a
// message that goes. It ends with 0 when the server closes with 1000 or 1001, when the count of messages is reached or
// the time is up; otherwise with 1 and the reason.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	token := flag.String("token", "", "bearer `TOKEN` to send")
	count := flag.Int("n", 0, "end after so many messages; 0 is no limit")
	limit := flag.Duration("t", 0, "end after this time, e.g. 30s; 0 is no limit")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: ws [-token TOKEN] [-n MESSAGES] [-t DURATION] ws://HOST[:PORT]/PATH")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *token, *count, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "ws:", err)
		os.Exit(1)
	}
}

func run(url, token string, count int, limit time.Duration) error {
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	connection, response, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		if response != nil {
			return fmt.Errorf("%w: %s", err, response.Status)
		}
		return err
	}
	defer connection.Close()
	// Tells whoever waits for it that every event from here on will be seen.
	fmt.Fprintln(os.Stderr, "connected")
	go send(connection)
	if limit > 0 {
		if err := connection.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
	}
	for seen := 0; count == 0 || seen < count; seen++ {
		_, message, err := connection.ReadMessage()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil
		case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway):
			return nil
		case err != nil:
			return err
		}
		fmt.Println(strings.TrimRight(string(message), "\n"))
	}
	return nil
}

func send(connection *websocket.Conn) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := connection.WriteMessage(websocket.TextMessage, lines.Bytes()); err != nil {
			return
		}
	}
}
