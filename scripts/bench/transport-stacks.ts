// The stacks that the transport bench compares: raw TCP, raw TLS 1.3, and the host over each transport.
import { randomBytes, webcrypto } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import { createHost } from '../../src/host/host.ts'
import type { FrameStream, Host, ProtocolOptions } from '../../src/host/types.ts'

export const STACKS = ['raw-tcp', 'raw-tls', 'tcp', 'ws', 'quic', 'webrtc-direct'] as const

export type StackName = (typeof STACKS)[number]

/** An open connection to a bench server. */
export interface Link extends AsyncDisposable {
  /** Milliseconds of the opening that are not part of the connection, such as starting a host. */
  readonly setupMs: number
  /** Sends a few bytes and waits until they are back. */
  echo(bytes: Uint8Array): Promise<void>
  /** Sends `total` bytes in chunks and waits until the server has all of them. */
  bulk(total: number, chunk: number): Promise<void>
}

const PROTOCOL = '/conclave/bench/1.0.0'
const OPTIONS: ProtocolOptions = {
  frameBytesMax: 128 * 1024,
  inboundStreamsMax: 8,
  outboundStreamsMax: 8,
  relayed: false,
}
const ECHO = 0
const BULK = 1
const END = 2

const LISTEN: Readonly<Record<StackName, string>> = {
  'raw-tcp': '',
  'raw-tls': '',
  tcp: '/ip4/127.0.0.1/tcp/0',
  ws: '/ip4/127.0.0.1/tcp/0/ws',
  quic: '/ip4/127.0.0.1/udp/0/quic-v1',
  'webrtc-direct': '/ip4/127.0.0.1/udp/0/webrtc-direct',
}

/** Starts the server side of a stack and answers the address to open. */
export async function serveStack(stack: StackName): Promise<string> {
  if (stack === 'raw-tcp') return listenRaw(net.createServer(serveSocket))
  if (stack === 'raw-tls') {
    return listenRaw(
      tls.createServer({ ...(await certificate()), minVersion: 'TLSv1.3' }, serveSocket),
    )
  }
  const host = await makeHost(stack, [LISTEN[stack]])
  await host.handle(PROTOCOL, OPTIONS, async (stream) => {
    for await (const frame of stream.frames) {
      if (frame[0] !== BULK) await stream.send(frame)
    }
  })
  const [address] = host.addresses()
  if (address === undefined) throw new Error('no address to listen on')
  return address
}

/** Opens the client side of a stack. */
export async function openStack(stack: StackName, address: string): Promise<Link> {
  if (stack === 'raw-tcp' || stack === 'raw-tls') return openRaw(stack, Number(address))
  const startedAt = performance.now()
  const host = await makeHost(stack, [LISTEN[stack]])
  const peer = address.slice(address.lastIndexOf('/') + 1) as Host['peerId']
  await host.addAddresses(peer, [address])
  const setupMs = performance.now() - startedAt
  return streamLink(host, await host.open(peer, PROTOCOL, OPTIONS), setupMs)
}

function makeHost(stack: StackName, listen: string[]): Promise<Host> {
  const rows = new Map<string, Uint8Array>()
  return createHost({
    privateKey: Uint8Array.from(randomBytes(32)),
    listen,
    announce: [],
    bootstrap: [],
    transports: [stack as 'tcp'],
    relay: false,
    mdns: false,
    agentVersion: 'conclave-bench',
    storage: {
      get: (key) => Promise.resolve(rows.get(key)),
      put: (key, value) => Promise.resolve(void rows.set(key, value)),
      delete: (key) => Promise.resolve(void rows.delete(key)),
      async *query(prefix) {
        await Promise.resolve()
        for (const [key, value] of rows) if (key.startsWith(prefix)) yield { key, value }
      },
    },
  })
}

function streamLink(host: Host, stream: FrameStream, setupMs: number): Link {
  const replies = stream.frames[Symbol.asyncIterator]()
  const exchange = async (frame: Uint8Array): Promise<void> => {
    await stream.send(frame)
    await replies.next()
  }
  return {
    setupMs,
    echo: (bytes) => exchange(Uint8Array.of(ECHO, ...bytes)),
    async bulk(total, chunk) {
      const frame = new Uint8Array(chunk).fill(BULK)
      for (let sent = 0; sent < total; sent += chunk) await stream.send(frame)
      await exchange(Uint8Array.of(END))
    },
    async [Symbol.asyncDispose]() {
      stream.abort()
      await host.close()
    },
  }
}

// Raw sockets: u32 length, type, bytes.

async function listenRaw(server: net.Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return String((server.address() as net.AddressInfo).port)
}

function serveSocket(socket: net.Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => undefined)
  readFrames(socket, (frame) => {
    if (frame[4] !== BULK) socket.write(frame)
  })
}

function readFrames(socket: net.Socket, onFrame: (frame: Buffer) => void): void {
  let chunks: Buffer[] = []
  let held = 0
  socket.on('data', (data: Buffer) => {
    chunks.push(data)
    held += data.length
    while (held >= 4) {
      if ((chunks[0]?.length ?? 0) < 4) chunks = [Buffer.concat(chunks)]
      const size = 4 + (chunks[0]?.readUInt32BE(0) ?? 0)
      if (held < size) return
      const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
      onFrame(all.subarray(0, size))
      chunks = all.length > size ? [all.subarray(size)] : []
      held -= size
    }
  })
}

async function openRaw(stack: 'raw-tcp' | 'raw-tls', port: number): Promise<Link> {
  const socket =
    stack === 'raw-tcp'
      ? net.connect({ port, host: '127.0.0.1' })
      : tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, stack === 'raw-tcp' ? 'connect' : 'secureConnect')
  socket.setNoDelay(true)
  let onReply = (): void => undefined
  readFrames(socket, () => onReply())
  const frameOf = (type: number, length: number): Buffer => {
    const frame = Buffer.alloc(5 + length, type)
    frame.writeUInt32BE(1 + length, 0)
    return frame
  }
  const exchange = (frame: Buffer): Promise<void> =>
    new Promise((resolve) => {
      onReply = resolve
      socket.write(frame)
    })
  return {
    setupMs: 0,
    echo: (bytes) => exchange(frameOf(ECHO, bytes.length)),
    async bulk(total, chunk) {
      const frame = frameOf(BULK, chunk)
      for (let sent = 0; sent < total; sent += chunk) {
        if (!socket.write(frame)) await once(socket, 'drain')
      }
      await exchange(frameOf(END, 0))
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
      if (!socket.closed) await once(socket, 'close')
    },
  }
}

async function certificate(): Promise<{ key: string; cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=localhost',
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    signingAlgorithm: algorithm,
    keys: keys as unknown as x509.X509CertificateCreateSelfSignedParams extends { keys: infer K }
      ? K
      : never,
  })
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const key = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
  return { key, cert: made.toString('pem') }
}
