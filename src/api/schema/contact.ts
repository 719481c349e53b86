// Schemas of contacts. Floor 4.
import { Type } from 'typebox'
import type { TUnsafe } from 'typebox'
import type { ContactFact } from '../../node/types.ts'
import { ARGUMENT_MAX, NAME_MAX } from '../client-limits.ts'
import { closed, listOf, orNull, shapeOf } from './shape.ts'

const peer = Type.String({ minLength: 1, maxLength: ARGUMENT_MAX })

/** Answer of every route about one contact. */
export const CONTACT: TUnsafe<ContactFact> = shapeOf<ContactFact>()(
  Type.Object({
    peerId: Type.String(),
    name: orNull(Type.String()),
    verified: Type.Boolean(),
    safetyNumber: orNull(Type.String()),
  }),
)

/** `GET /v1/contacts`. */
export const CONTACTS: TUnsafe<ContactFact[]> = listOf(CONTACT)

/** A contact to add. */
export interface AddContactRequest {
  /** In any PEER form. */
  readonly peerId: string
  /** The petname to give. */
  readonly name?: string
}

/** `POST /v1/contacts`: request. */
export const ADD_CONTACT: TUnsafe<AddContactRequest> = shapeOf<AddContactRequest>()(
  closed({
    peerId: peer,
    name: Type.Optional(Type.String({ minLength: 1, maxLength: NAME_MAX })),
  }),
)

/** A contact to remove. */
export interface RemoveContactRequest {
  /** In any PEER form. */
  readonly peerId?: string
}

/** `DELETE /v1/contacts`: body or query. */
export const REMOVE_CONTACT: TUnsafe<RemoveContactRequest> = shapeOf<RemoveContactRequest>()(
  closed({ peerId: Type.Optional(peer) }),
)

/** A safety number as the other side reads it out. */
export interface MatchRequest {
  readonly match: string
}

/** Longest safety number with its spaces, in characters. */
const SAFETY_NUMBER_MAX = 256

/** `POST /v1/contacts/{peerId}/safety-number`: request. */
export const MATCH_REQUEST: TUnsafe<MatchRequest> = shapeOf<MatchRequest>()(
  closed({ match: Type.String({ minLength: 1, maxLength: SAFETY_NUMBER_MAX }) }),
)
