// The other side of the go-libp2p interop test. One JSON line for each thing that holds; ends when stdin does.
//
// usage: interop serve | interop meet MULTIADDR
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	echoProtocol = "/conclave/interop-echo/1.0.0"
	topicName    = "conclave-interop"
	frameMax     = 65536
)

func say(kind string, fields map[string]any) {
	line := map[string]any{"kind": kind}
	for key, value := range fields {
		line[key] = value
	}
	bytes, _ := json.Marshal(line)
	fmt.Println(string(bytes))
}

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func readFrame(reader *bufio.Reader) ([]byte, error) {
	length, err := binary.ReadUvarint(reader)
	if err != nil {
		return nil, err
	}
	if length > frameMax {
		return nil, fmt.Errorf("a frame of %d bytes", length)
	}
	frame := make([]byte, length)
	_, err = io.ReadFull(reader, frame)
	return frame, err
}

func writeFrame(stream network.Stream, frame []byte) error {
	_, err := stream.Write(append(binary.AppendUvarint(nil, uint64(len(frame))), frame...))
	return err
}

func echo(stream network.Stream) {
	defer stream.Close()
	reader := bufio.NewReader(stream)
	for {
		frame, err := readFrame(reader)
		if err != nil || writeFrame(stream, frame) != nil {
			return
		}
	}
}

// gossip reports messages of the topic and repeats its own until it ends: a young mesh loses the first ones.
func gossip(ctx context.Context, h host.Host) {
	router, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { return string(m.Data) }))
	must("gossipsub", err)
	topic, err := router.Join(topicName)
	must("topic", err)
	sub, err := topic.Subscribe()
	must("subscribe", err)
	go func() {
		for n := 0; ; n++ {
			_ = topic.Publish(ctx, fmt.Appendf(nil, "from go %d", n))
			time.Sleep(300 * time.Millisecond)
		}
	}()
	go func() {
		for {
			message, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if message.ReceivedFrom != h.ID() {
				say("gossip", map[string]any{"text": string(message.Data)})
			}
		}
	}()
}

func meet(ctx context.Context, h host.Host, text string) {
	info, err := peer.AddrInfoFromString(text)
	must("address", err)
	must("connect", h.Connect(ctx, *info))
	connection := h.Network().ConnsToPeer(info.ID)[0]
	say("connected", map[string]any{
		"remote":   connection.RemoteMultiaddr().String(),
		"security": string(connection.ConnState().Security),
		"muxer":    string(connection.ConnState().StreamMultiplexer),
	})
	result := <-ping.Ping(ctx, h, info.ID)
	must("ping", result.Error)
	say("ping", map[string]any{"ms": result.RTT.Seconds() * 1000})
	stream, err := h.NewStream(ctx, info.ID, echoProtocol)
	must("stream", err)
	reader := bufio.NewReader(stream)
	for _, size := range []int{0, 1, 127, 128, 16384, frameMax} {
		sent := make([]byte, size)
		for i := range sent {
			sent[i] = byte(i)
		}
		must("write", writeFrame(stream, sent))
		back, err := readFrame(reader)
		must("read", err)
		if string(back) != string(sent) {
			must("echo", fmt.Errorf("%d bytes came back otherwise", size))
		}
	}
	must("close", stream.CloseWrite())
	say("echoed", nil)
	protocols, err := h.Peerstore().GetProtocols(info.ID)
	must("identify", err)
	agent, _ := h.Peerstore().Get(info.ID, "AgentVersion")
	say("identified", map[string]any{"protocols": protocols, "agent": agent})
}

func main() {
	ctx := context.Background()
	h, err := libp2p.New(libp2p.ListenAddrStrings(
		"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws", "/ip4/127.0.0.1/udp/0/quic-v1",
		"/ip4/127.0.0.1/udp/0/webrtc-direct",
	))
	must("host", err)
	h.SetStreamHandler(echoProtocol, echo)
	gossip(ctx, h)
	if len(os.Args) > 2 && os.Args[1] == "meet" {
		meet(ctx, h, os.Args[2])
	} else {
		addresses := []string{}
		for _, address := range h.Addrs() {
			addresses = append(addresses, fmt.Sprintf("%s/p2p/%s", address, h.ID()))
		}
		say("listening", map[string]any{"addresses": addresses, "peerId": h.ID().String()})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
