//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// plainPeer is a program that speaks as the Qt class does, and no more: it
// listens at its own path, keeps a connection to the other's and says "ping".
//
//	plainpeer OWN OTHER
func plainPeer() {
	own, other := os.Args[1], os.Args[2]
	os.Remove(own) // as QLocalServer::removeServer
	listener, err := net.Listen("unix", own)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 512)
				for {
					if _, err := c.Read(buf); err != nil {
						c.Close()
						return
					}
				}
			}()
		}
	}()
	for range time.Tick(50 * time.Millisecond) {
		c, err := net.Dial("unix", other)
		if err != nil {
			continue
		}
		for range time.Tick(200 * time.Millisecond) {
			if _, err := c.Write([]byte("ping")); err != nil {
				break
			}
		}
		c.Close()
	}
}
