// Gossip of groups: frames of the generations that this node listens to, judged before they are forwarded
// (group spec.md §4.6). Floor 2. What a frame means, and what is durable, is decided above.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { HOUR_MS } from '../../protocols/base/time.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import { frameIdOf, openFrame, readFrameHead } from '../../protocols/group/frame.ts'
import type { Generation } from '../../protocols/group/keys.ts'
import {
  FRAME_BYTES_MAX,
  FRAME_FUTURE_HOURS_MAX,
  FRAME_PAST_HOURS_MAX,
} from '../../protocols/group/types.ts'
import type { FrameContent, FrameId } from '../../protocols/group/types.ts'
import type { Host, TopicMessage, Verdict } from '../host/types.ts'

/* Implementation constants: ours to tune. */
/** Frames that one neighbour may hand over. */
export const NEIGHBOUR_RATE = { burst: 1_000, perSecond: 200 }
/** Neighbours whose rate is remembered. */
const NEIGHBOURS_MAX = 4_096

/** A frame that was opened. */
export interface OpenedFrame {
  readonly frameId: FrameId
  readonly hour: number
  readonly frame: Bytes
  readonly content: FrameContent
}

/** The group behind a generation. */
export interface GossipSink {
  /** True for a frame that is kept already. */
  isKnown(frameId: FrameId): boolean
  /** Whether the content is worth being forwarded. */
  judge(content: FrameContent): Promise<Verdict> | Verdict
  /** A frame that was judged worth it. */
  heard(opened: OpenedFrame): void
}

/** What gossip needs. */
export interface GossipOptions {
  readonly host: Pick<Host, 'pubsub'>
  readonly primitives: Primitives
  readonly now: () => number
}

/** The topics of this node. */
export interface Gossip {
  listen(generation: Generation, sink: GossipSink): void
  /** Stops listening; unknown generations are ignored. */
  leave(generation: Generation): void
  /** Publishes a frame that is durable; answers to how many neighbours it went. */
  publish(generation: Generation, frame: Bytes): Promise<number>
}

/** Opens gossip. */
export function openGossip({ host, primitives, now }: GossipOptions): Gossip {
  const rates = new TokenBuckets<PeerId>(NEIGHBOUR_RATE, NEIGHBOURS_MAX)
  const { pubsub } = host

  const validate = async (
    generation: Generation,
    sink: GossipSink,
    { data, from }: TopicMessage,
  ): Promise<Verdict> => {
    if (data.length > FRAME_BYTES_MAX) return 'reject'
    const head = readFrameHead(data)
    if (!head.ok) return 'reject'
    if (head.value.genTag !== generation.genTag || !isTimely(head.value.hour, now())) {
      return 'ignore'
    }
    if (!rates.take(from, now())) return 'ignore'
    const frameId = frameIdOf(primitives, data)
    if (sink.isKnown(frameId)) return 'ignore'
    const content = openFrame(primitives, generation, data)
    if (!content.ok) return 'reject'
    const verdict = await sink.judge(content.value)
    if (verdict === 'accept') {
      sink.heard({ frameId, hour: head.value.hour, frame: data, content: content.value })
    }
    return verdict
  }

  return {
    listen(generation, sink) {
      pubsub.subscribe(generation.topic, (message) => validate(generation, sink, message))
    },
    leave(generation) {
      pubsub.unsubscribe(generation.topic)
    },
    publish: (generation, frame) => pubsub.publish(generation.topic, frame),
  }
}

/** True for a frame of the last day, or of the next hour where a clock is ahead. */
export function isTimely(hour: number, nowMs: number): boolean {
  const present = Math.floor(nowMs / HOUR_MS)
  return hour >= present - FRAME_PAST_HOURS_MAX && hour <= present + FRAME_FUTURE_HOURS_MAX
}
