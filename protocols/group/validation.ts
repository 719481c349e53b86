// Whether a frame's content is worth being forwarded, before it is taken (spec.md §4.6). Floor 0, pure.
import type { Primitives } from '../base/primitives.ts'
import { admit, isKnown } from './chain.ts'
import { verifyRecord } from './commit-record.ts'
import { verifyProof } from './proof.ts'
import { verifyAck, verifyLeave, verifyRepair } from './signed-notes.ts'
import type { GroupState } from './state.ts'
import type { FrameContent } from './types.ts'

/** `reject` costs the neighbour that handed it over; `ignore` drops what cannot be judged. */
export type Judgement = 'accept' | 'ignore' | 'reject'

/** Judges content by what this member knows. */
export function judge(primitives: Primitives, state: GroupState, content: FrameContent): Judgement {
  switch (content.kind) {
    case 'app':
      return 'accept'
    case 'commit': {
      const record = verifyRecord(primitives, content.entry.record)
      if (!record.ok || record.value.groupId !== state.groupId) return 'reject'
      if (!isKnown(state.chain, record.value.author)) return 'ignore'
      if (!state.chain.nodes.has(record.value.parent)) return 'accept'
      const { chain, groupId } = state
      const placed = admit(primitives, chain, record.value, content.entry, groupId)
      return placed.ok ? 'accept' : 'reject'
    }
    case 'acks': {
      for (const bytes of content.acks) {
        const ack = verifyAck(primitives, bytes)
        if (!ack.ok || ack.value.groupId !== state.groupId) return 'reject'
        if (!isKnown(state.chain, ack.value.author)) return 'ignore'
      }
      return 'accept'
    }
    case 'leave': {
      const leave = verifyLeave(primitives, content.leave)
      if (!leave.ok || leave.value.groupId !== state.groupId) return 'reject'
      return isKnown(state.chain, leave.value.author) ? 'accept' : 'ignore'
    }
    case 'proof': {
      const proof = verifyProof(primitives, content.proof)
      if (!proof.ok || proof.value.groupId !== state.groupId) return 'reject'
      return isKnown(state.chain, proof.value.author) ? 'accept' : 'ignore'
    }
    case 'repair': {
      const repair = verifyRepair(primitives, content.repair)
      if (!repair.ok || repair.value.groupId !== state.groupId) return 'reject'
      return isKnown(state.chain, repair.value.author) ? 'accept' : 'ignore'
    }
  }
}
