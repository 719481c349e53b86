// What is derived from exported secrets: topics, tags, frame keys, and the sealing of commits (spec.md §3.1, §5).
// Floor 0, pure.
import { base32 } from 'multiformats/bases/base32'
import { concat, u32, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import type { Primitives } from '../base/primitives.ts'
import { idBytes, toGenTag } from './ids.ts'
import { GEN_TAG_BYTES, TOPIC_PREFIX } from './types.ts'
import type { CommitId, GenTag } from './types.ts'

const NO_SALT = new Uint8Array(0)
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** A transport generation: protects what is public to members (who, when, which commit), not what they say. */
export interface Generation {
  /** The commit that began it. */
  readonly start: CommitId
  /** Transport secret: 32 bytes. */
  readonly tx: Bytes
  readonly genTag: GenTag
  readonly topic: string
}

/** Derives a generation's tag and topic from its transport secret. */
export function makeGeneration(primitives: Primitives, start: CommitId, tx: Bytes): Generation {
  const topic = primitives.hkdfSha256(NO_SALT, tx, utf8('topic'), 32)
  return {
    start,
    tx,
    genTag: toGenTag(primitives.hkdfSha256(NO_SALT, tx, utf8('tag'), GEN_TAG_BYTES)),
    topic: `${TOPIC_PREFIX}${base32.baseEncode(topic)}`,
  }
}

/** The key of all frames of one Unix hour: 32 bytes. */
export function frameKey(primitives: Primitives, tx: Bytes, hour: number): Bytes {
  return primitives.hkdfSha256(NO_SALT, tx, concat(utf8('frame'), u32(hour)), 32)
}

/**
 * Seals a commit under its parent epoch's body key.
 *
 * @param nonce - 12 random bytes.
 * @returns nonce ‖ ciphertext ‖ 16-byte tag.
 */
export function sealBody(
  primitives: Primitives,
  bodyKey: Bytes,
  commitId: CommitId,
  nonce: Bytes,
  commit: Bytes,
): Bytes {
  return concat(nonce, primitives.seal(bodyKey, nonce, idBytes(commitId), commit))
}

/** Opens what `sealBody` made; undefined if anything does not match. */
export function openBody(
  primitives: Primitives,
  bodyKey: Bytes,
  commitId: CommitId,
  sealed: Bytes,
): Bytes | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
  const nonce = sealed.subarray(0, NONCE_BYTES)
  return primitives.open(bodyKey, nonce, idBytes(commitId), sealed.subarray(NONCE_BYTES))
}
