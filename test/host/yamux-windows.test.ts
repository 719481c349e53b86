import type { MultiaddrConnection, Stream, StreamMuxer } from '@libp2p/interface'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { sparingYamux } from '../../src/host/yamux-windows.ts'
import { until } from '../support/hosts.ts'

const test = suite('host · sparing yamux windows')

/** The window that a yamux stream begins with, as the protocol says. */
const WINDOW_BYTES: number = 256 * 1024
const HEADER_BYTES = 12
const WINDOW_UPDATE = 1

/** One end of a muxed connection. */
interface End {
  readonly muxer: StreamMuxer
  /** Sizes of the window updates that it sent for its streams, in order. */
  readonly updates: number[]
}

function muxed(connection: MultiaddrConnection): End {
  const updates: number[] = []
  const send = connection.send.bind(connection)
  connection.send = (data) => {
    const bytes = data.subarray()
    const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
    if (header.getUint8(1) === WINDOW_UPDATE) updates.push(header.getUint32(8))
    return send(data)
  }
  const factory = sparingYamux({
    enableKeepAlive: false,
    // Windows keep their size, so that they can be counted.
    streamOptions: { maxStreamWindowSize: WINDOW_BYTES },
  })()
  const muxer = factory.createStreamMuxer(connection)
  connection.addEventListener('close', () => void muxer.close())
  return { muxer, updates }
}

/** A stream from one end to the other. */
interface Line {
  readonly writer: Stream
  readonly reader: Stream
  readonly writing: End
  readonly reading: End
  readonly heard: () => number
}

async function withLine(use: (line: Line) => Promise<void>): Promise<void> {
  const [outbound, inbound] = multiaddrConnectionPair()
  const [writing, reading] = [muxed(outbound), muxed(inbound)]
  const coming: Stream[] = []
  reading.muxer.addEventListener('stream', ({ detail }) => coming.push(detail))
  const writer = await writing.muxer.createStream()
  // Nothing was written yet: that it is there is told by a window update alone.
  await until('the stream is there', () => coming.length === 1)
  const [reader] = coming
  assert.ok(reader)
  let heardCount = 0
  reader.addEventListener('message', ({ data }) => {
    heardCount += data.byteLength
  })
  try {
    await use({ writer, reader, writing, reading, heard: () => heardCount })
  } finally {
    writer.abort(new Error('the test is over'))
    outbound.abort(new Error('the test is over'))
    inbound.abort(new Error('the test is over'))
  }
}

async function write(stream: Stream, bytes: number, messageBytes: number): Promise<void> {
  for (let at = 0; at < bytes; at += messageBytes) {
    if (!stream.send(new Uint8Array(Math.min(messageBytes, bytes - at)))) await stream.onDrain()
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)

test('small messages are answered by no update of the window until half of it was read', async () => {
  await withLine(async ({ writer, writing, reading, heard }) => {
    await write(writer, 1, 1)
    await until('the first is heard', () => heard() === 1)
    const [before, opened] = [reading.updates.length, writing.updates.length]
    const half = WINDOW_BYTES / 2
    await write(writer, half - 512, 512)
    await until('all but one are heard', () => heard() === 1 + half - 512)
    assert.is(reading.updates.length, before)
    await write(writer, 512, 512)
    await until('all are heard', () => heard() === 1 + half)
    assert.equal(reading.updates.slice(before), [half])
    assert.is(writing.updates.length, opened)
  })
})

test('many windows go through, and each update gives back half a window or more', async () => {
  await withLine(async ({ writer, reading, heard }) => {
    const size = 20 * WINDOW_BYTES
    await write(writer, size, 10_000)
    await until('all is heard', () => heard() === size)
    const [, ...updates] = reading.updates // the first says that the stream is open
    assert.ok(updates.every((bytes) => bytes >= WINDOW_BYTES / 2))
    assert.ok(sum(reading.updates) >= size - WINDOW_BYTES)
  })
})

test('a message as large as the window goes through, one after another', async () => {
  await withLine(async ({ writer, heard }) => {
    for (let i = 1; i <= 8; i++) {
      await write(writer, WINDOW_BYTES, WINDOW_BYTES)
      await until('it is heard', () => heard() === i * WINDOW_BYTES)
    }
  })
})

test('whoever pauses is sent a window at most, and everything once it goes on', async () => {
  await withLine(async ({ writer, reader, reading, heard }) => {
    await write(writer, 1, 1)
    await until('the first is heard', () => heard() === 1)
    reader.pause()
    const before = sum(reading.updates)
    const writes = write(writer, 4 * WINDOW_BYTES, 10_000)
    await until('no room is left', () => reader.readBufferLength + 1 + 10_000 >= WINDOW_BYTES)
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.is(heard(), 1)
    assert.is(sum(reading.updates), before)
    assert.ok(reader.readBufferLength <= WINDOW_BYTES)
    reader.resume()
    await writes
    await until('all is heard', () => heard() === 1 + 4 * WINDOW_BYTES)
  })
})

test('the end that was opened to writes back on the same terms', async () => {
  await withLine(async ({ writer, reader, writing }) => {
    let answered = 0
    writer.addEventListener('message', ({ data }) => {
      answered += data.byteLength
    })
    const opened = writing.updates.length
    await write(reader, 100 * 512, 512)
    await until('the answer is heard', () => answered === 100 * 512)
    assert.is(writing.updates.length, opened)
    await write(reader, 4 * WINDOW_BYTES, 10_000)
    await until('more than the window is heard', () => answered === 100 * 512 + 4 * WINDOW_BYTES)
  })
})

test.run()
