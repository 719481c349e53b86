// The key schedule (RFC 9420 §8). Floor 0, pure.
import { wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import { HASH_BYTES } from './suite.ts'
import type { Suite } from './suite.ts'

/** What an epoch keeps of its key schedule. The resumption secret is not derived: nothing here resumes. */
export interface EpochSecrets {
  /** Absent from stripped handles: who cannot open messages need not read their senders. */
  readonly senderData: Bytes | undefined
  readonly exporter: Bytes
  readonly external: Bytes
  readonly membership: Bytes
  readonly authenticator: Bytes
  readonly init: Bytes
}

/** An epoch's secrets and those that outlive the call only as far as they are needed at once. */
export interface DerivedEpoch {
  readonly secrets: EpochSecrets
  readonly confirmation: Bytes
  readonly encryption: Bytes
}

/** What a committer or its followers derive: also what a Welcome carries. */
export interface CommittedEpoch extends DerivedEpoch {
  readonly joiner: Bytes
}

const NO_PSK = new Uint8Array(HASH_BYTES)

/** Derives an epoch from its epoch_secret, which is wiped. */
export function deriveFromEpochSecret(suite: Suite, epochSecret: Bytes): DerivedEpoch {
  const derive = (label: string): Bytes => suite.deriveSecret(epochSecret, label)
  const derived: DerivedEpoch = {
    secrets: {
      senderData: derive('sender data'),
      exporter: derive('exporter'),
      external: derive('external'),
      membership: derive('membership'),
      authenticator: derive('authentication'),
      init: derive('init'),
    },
    confirmation: derive('confirm'),
    encryption: derive('encryption'),
  }
  wipe(epochSecret)
  return derived
}

/** Derives an epoch from its joiner_secret and encoded GroupContext. */
export function deriveFromJoiner(suite: Suite, joiner: Bytes, context: Bytes): DerivedEpoch {
  const member = suite.primitives.hmacSha256(joiner, NO_PSK)
  const epochSecret = suite.expandWithLabel(member, 'epoch', context, HASH_BYTES)
  wipe(member)
  return deriveFromEpochSecret(suite, epochSecret)
}

/** Derives an epoch from the last one's init_secret and the commit_secret, which is wiped. */
export function deriveFromCommit(
  suite: Suite,
  init: Bytes,
  commitSecret: Bytes,
  context: Bytes,
): CommittedEpoch {
  const extracted = suite.primitives.hmacSha256(init, commitSecret)
  const joiner = suite.expandWithLabel(extracted, 'joiner', context, HASH_BYTES)
  wipe(extracted, commitSecret)
  return { ...deriveFromJoiner(suite, joiner, context), joiner }
}

/** The welcome_secret of a joiner_secret. */
export function deriveWelcome(suite: Suite, joiner: Bytes): Bytes {
  const member = suite.primitives.hmacSha256(joiner, NO_PSK)
  const welcome = suite.deriveSecret(member, 'welcome')
  wipe(member)
  return welcome
}

/** MLS-Exporter (RFC 9420 §8.5). */
export function exportSecret(
  suite: Suite,
  exporter: Bytes,
  label: string,
  context: Bytes,
  length: number,
): Bytes {
  const secret = suite.deriveSecret(exporter, label)
  const digest = suite.primitives.sha256(context)
  const out = suite.expandWithLabel(secret, 'exported', digest, length)
  wipe(secret)
  return out
}

/** Independent copies of an epoch's secrets, without senderData if they are for a stripped handle. */
export function copySecrets(secrets: EpochSecrets, stripped: boolean): EpochSecrets {
  return {
    senderData: stripped ? undefined : secrets.senderData?.slice(),
    exporter: secrets.exporter.slice(),
    external: secrets.external.slice(),
    membership: secrets.membership.slice(),
    authenticator: secrets.authenticator.slice(),
    init: secrets.init.slice(),
  }
}

/** Zeroizes an epoch's secrets. */
export function wipeSecrets(secrets: EpochSecrets): void {
  const { senderData, exporter, external, membership, authenticator, init } = secrets
  wipe(exporter, external, membership, authenticator, init)
  if (senderData !== undefined) wipe(senderData)
}
