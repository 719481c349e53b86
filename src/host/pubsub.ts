// Gossip: gossipsub with unsigned messages that are judged before they travel on. Floor 1.
import { gossipsub, StrictNoSign, TopicValidatorResult } from '@libp2p/gossipsub'
import type { GossipSub, GossipsubMessage } from '@libp2p/gossipsub'
import { createTopicScoreParams } from '@libp2p/gossipsub/score'
import type { TopicScoreParams } from '@libp2p/gossipsub/score'
import { sha256 } from 'multiformats/hashes/sha2'
import { concat, u32, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { toPeerId } from './addresses.ts'
import type { Components } from './transports.ts'
import type { Pubsub, TopicMessage, Verdict } from './types.ts'

/** Topics whose messages are group frames, identified by their own hash. */
const GROUP_TOPIC_PREFIX = 'conclave/g/'

/** Largest message, in bytes. */
const TOPIC_MESSAGE_BYTES_MAX: number = 512 * 1024

const OUTBOUND_BUFFER_BYTES_MAX: number = 8 * 1024 * 1024
const MESSAGE_ID_BYTES = 20
const SAME_IP_PEERS_MAX = 50
/**
 * Neighbours in the mesh of a topic. A frame travels along every link of it, and over most in both directions: with
 * the library's 6 to 12 each node was sent each frame ten times. Syncs bring what a mesh loses.
 */
const MESH = { D: 4, Dlo: 3, Dhi: 6, Dscore: 3, Dout: 2 }

/** A message smaller than this costs less than telling all neighbours that it is not wanted again. */
const IDONTWANT_BYTES_MIN: number = 16 * 1024

/** What one RPC of a neighbour may carry. */
const RPC_LIMITS = {
  maxSubscriptions: 512,
  maxMessages: 512,
  maxIhaveMessageIDs: 5_000,
  maxIwantMessageIDs: 5_000,
  maxIdontwantMessageIDs: 5_000,
  maxControlMessages: 1_024,
  maxPeerInfos: 16,
}

/** Messages being judged at once, over all topics; more are dropped and come again by gossip. */
const VERDICTS_PENDING_MAX = 1_024

/** Cost of one rejected message; three within seconds and the neighbour is no longer listened to. */
const REJECTED_WEIGHT = -10
const REJECTED_DECAY = 0.97

type Service = (components: Components) => GossipSub

/** The gossipsub service with conclave's settings. */
export function makeGossipsub(): Service {
  return gossipsub({
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: ({ topic, data }) => messageId(topic, data),
    asyncValidation: true,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    floodPublish: false,
    doPX: false,
    ...MESH,
    idontwantMinDataSize: IDONTWANT_BYTES_MIN,
    fallbackToFloodsub: false,
    maxInboundDataLength: TOPIC_MESSAGE_BYTES_MAX,
    maxOutboundBufferSize: OUTBOUND_BUFFER_BYTES_MAX,
    decodeRpcLimits: RPC_LIMITS,
    scoreParams: {
      IPColocationFactorThreshold: SAME_IP_PEERS_MAX,
      IPColocationFactorWhitelist: new Set(['127.0.0.1', '::1']),
    },
  })
}

/** A group frame's ID is its hash, whatever topic carries it; elsewhere the topic is part of it. */
function messageId(topic: string, data: Uint8Array): Bytes {
  if (topic.startsWith(GROUP_TOPIC_PREFIX)) return digestOf(data)
  const name = utf8(topic)
  return digestOf(concat(u32(name.length), name, data)).slice(0, MESSAGE_ID_BYTES)
}

function digestOf(bytes: Uint8Array): Bytes {
  const digest = sha256.digest(bytes)
  if (digest instanceof Promise) throw new ConclaveError('BUG_INVARIANT', 'SHA-256 is synchronous')
  return digest.digest
}

const RESULTS: Readonly<Record<Verdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
}

/** The port over a running gossipsub. */
export function makePubsub(service: GossipSub): Pubsub {
  const validators = new Map<string, (message: TopicMessage) => Promise<Verdict> | Verdict>()
  const router = service as RouterParts
  let pendingCount = 0

  async function judge({ msg, propagationSource }: GossipsubMessage): Promise<Verdict> {
    const validate = validators.get(msg.topic)
    const from = toPeerId(propagationSource)
    if (validate === undefined || from === undefined) return 'ignore'
    if (pendingCount >= VERDICTS_PENDING_MAX) return 'ignore'
    pendingCount += 1
    try {
      return await validate({ topic: msg.topic, data: new Uint8Array(msg.data), from })
    } catch {
      return 'ignore' // our own failure is not the neighbour's fault
    } finally {
      pendingCount -= 1
    }
  }

  service.addEventListener('gossipsub:message', ({ detail }) => {
    void judge(detail).then((verdict) => {
      const source = detail.propagationSource.toString()
      router.reportMessageValidationResult(detail.msgId, source, RESULTS[verdict])
    })
  })

  return {
    subscribe(topic, validate) {
      validators.set(topic, validate)
      router.score.params.topics[topic] = topicScore()
      service.subscribe(topic)
    },
    unsubscribe(topic) {
      validators.delete(topic)
      service.unsubscribe(topic)
    },
    async publish(topic, data) {
      if (data.length > TOPIC_MESSAGE_BYTES_MAX) {
        throw new ConclaveError(
          'USAGE_ARGUMENT',
          `topic message of ${data.length} bytes, allowed ${TOPIC_MESSAGE_BYTES_MAX}`,
        )
      }
      const { recipients } = await service.publish(topic, data)
      return recipients.length
    },
    subscribers(topic) {
      return service.getSubscribers(topic).flatMap((peer) => toPeerId(peer) ?? [])
    },
  }
}

/** Parts of the router that its exported interface leaves out. */
interface RouterParts extends GossipSub {
  readonly score: { readonly params: { readonly topics: Record<string, TopicScoreParams> } }
  reportMessageValidationResult(id: string, source: string, result: TopicValidatorResult): void
}

// Only rejected messages count: groups are small and quiet, so silence is no offence.
function topicScore(): TopicScoreParams {
  return createTopicScoreParams({
    topicWeight: 1,
    timeInMeshWeight: 0,
    firstMessageDeliveriesWeight: 0,
    meshMessageDeliveriesWeight: 0,
    meshFailurePenaltyWeight: 0,
    invalidMessageDeliveriesWeight: REJECTED_WEIGHT,
    invalidMessageDeliveriesDecay: REJECTED_DECAY,
  })
}
