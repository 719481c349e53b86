// Schemas of groups. Floor 4.
import { Type } from 'typebox'
import type { TUnsafe } from 'typebox'
import type { GroupFact, GroupInfo, GroupMessage, Invitation, Role } from '../../node/types.ts'
import {
  ARGUMENT_MAX,
  ITEMS_MAX,
  LIST_LIMIT_MAX,
  NAME_MAX,
  WAIT_SECONDS_MAX,
} from '../client-limits.ts'
import { closed, listOf, oneOf, orNull, shapeOf } from './shape.ts'

const peer = Type.String({ minLength: 1, maxLength: ARGUMENT_MAX })
const peers = Type.Array(peer, { minItems: 1, maxItems: ITEMS_MAX })
const role = oneOf('admin', 'member')
const count = Type.Integer({ minimum: 0 })

/** One group, as lists show it. */
export const GROUP: TUnsafe<GroupFact> = shapeOf<GroupFact>()(
  Type.Object({
    groupId: Type.String(),
    name: Type.String(),
    epoch: count,
    members: count,
    role,
    unread: count,
  }),
)

/** `GET /v1/groups`. */
export const GROUPS: TUnsafe<GroupFact[]> = listOf(GROUP)

/** A group to create. */
export interface CreateGroupRequest {
  readonly name: string
}

/** `POST /v1/groups`: request. */
export const CREATE_GROUP: TUnsafe<CreateGroupRequest> = shapeOf<CreateGroupRequest>()(
  closed({ name: Type.String({ minLength: 1, maxLength: NAME_MAX }) }),
)

/** `GET /v1/groups/{id}`. */
export const GROUP_INFO: TUnsafe<GroupInfo> = shapeOf<GroupInfo>()(
  Type.Object({
    groupId: Type.String(),
    name: Type.String(),
    epoch: count,
    authenticator: Type.String(),
    members: Type.Array(Type.Object({ peerId: Type.String(), name: orNull(Type.String()), role })),
    keyAgeSeconds: Type.Number({ minimum: 0 }),
    branch: Type.String(),
    pending: Type.Array(Type.String()),
  }),
)

/** Agents to add to a group. */
export interface InviteRequest {
  /** Each in any PEER form. */
  readonly peers: string[]
  readonly until?: 'joined'
  /** Seconds. */
  readonly timeout?: number
}

/** `POST /v1/groups/{id}/members`: request. */
export const INVITE_REQUEST: TUnsafe<InviteRequest> = shapeOf<InviteRequest>()(
  closed({
    peers,
    until: Type.Optional(oneOf('joined')),
    timeout: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: WAIT_SECONDS_MAX })),
  }),
)

/** Whom a commit added. */
export interface InviteResult {
  readonly groupId: string
  readonly epoch: number
  readonly added: string[]
}

/** `POST /v1/groups/{id}/members`. */
export const INVITE_RESULT: TUnsafe<InviteResult> = shapeOf<InviteResult>()(
  Type.Object({ groupId: Type.String(), epoch: count, added: Type.Array(Type.String()) }),
)

/** More members to remove in the same commit. */
export interface RemoveMembersRequest {
  /** Beside the one in the path, each in any PEER form. */
  readonly peers?: string[]
}

/** `DELETE /v1/groups/{id}/members/{peerId}`: request. */
export const REMOVE_MEMBERS: TUnsafe<RemoveMembersRequest> = shapeOf<RemoveMembersRequest>()(
  closed({ peers: Type.Optional(Type.Array(peer, { maxItems: ITEMS_MAX })) }),
)

/** Whom a commit removed. */
export interface RemoveResult {
  readonly groupId: string
  readonly epoch: number
  readonly removed: string[]
}

/** `DELETE /v1/groups/{id}/members/{peerId}`. */
export const REMOVE_RESULT: TUnsafe<RemoveResult> = shapeOf<RemoveResult>()(
  Type.Object({ groupId: Type.String(), epoch: count, removed: Type.Array(Type.String()) }),
)

/** A role to give. */
export interface RoleRequest {
  readonly role: Role
}

/** `PUT /v1/groups/{id}/members/{peerId}/role`: request. */
export const ROLE_REQUEST: TUnsafe<RoleRequest> = shapeOf<RoleRequest>()(closed({ role }))

/** A member and its role. */
export interface RoleResult {
  readonly groupId: string
  readonly peerId: string
  readonly role: Role
}

/** `PUT /v1/groups/{id}/members/{peerId}/role`. */
export const ROLE_RESULT: TUnsafe<RoleResult> = shapeOf<RoleResult>()(
  Type.Object({ groupId: Type.String(), peerId: Type.String(), role }),
)

/** The group that was acted on. */
export interface GroupResult {
  readonly groupId: string
}

/** Answer of leaving and declining. */
export const GROUP_RESULT: TUnsafe<GroupResult> = shapeOf<GroupResult>()(
  Type.Object({ groupId: Type.String() }),
)

/** The group and the epoch it is in now. */
export interface EpochResult {
  readonly groupId: string
  readonly epoch: number
}

/** `POST /v1/groups/{id}/rekey`. */
export const EPOCH_RESULT: TUnsafe<EpochResult> = shapeOf<EpochResult>()(
  Type.Object({ groupId: Type.String(), epoch: count }),
)

/** A message given to the group's topic. */
export interface GroupSendResult {
  readonly id: string
  readonly groupId: string
  readonly epoch: number
}

/** `POST /v1/groups/{id}/messages`. */
export const GROUP_SEND_RESULT: TUnsafe<GroupSendResult> = shapeOf<GroupSendResult>()(
  Type.Object({ id: Type.String(), groupId: Type.String(), epoch: count }),
)

/** Which messages of a group. */
export interface GroupFilter {
  readonly all?: boolean
  readonly limit?: number
  readonly peek?: boolean
}

/** `GET /v1/groups/{id}/messages`: query. */
export const GROUP_FILTER: TUnsafe<GroupFilter> = shapeOf<GroupFilter>()(
  closed({
    all: Type.Optional(Type.Boolean()),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIST_LIMIT_MAX })),
    peek: Type.Optional(Type.Boolean()),
  }),
)

/** `GET /v1/groups/{id}/messages`. */
export const GROUP_MESSAGES: TUnsafe<GroupMessage[]> = listOf(
  shapeOf<GroupMessage>()(
    Type.Object({
      id: Type.String(),
      groupId: Type.String(),
      from: Type.String(),
      sentAt: Type.String(),
      receivedAt: Type.String(),
      type: Type.String(),
      text: Type.Optional(Type.String()),
      base64: Type.Optional(Type.String()),
      epoch: count,
      gap: Type.Boolean(),
      late: Type.Boolean(),
    }),
  ),
)

/** `GET /v1/invitations`. */
export const INVITATIONS: TUnsafe<Invitation[]> = listOf(
  shapeOf<Invitation>()(
    Type.Object({ groupId: Type.String(), name: Type.String(), from: Type.String() }),
  ),
)

/** A path that names a group, in any GROUP form. */
export interface GroupPath {
  readonly id: string
}

const id = Type.String({
  minLength: 1,
  maxLength: ARGUMENT_MAX,
  description: 'group name, group ID (64 hex digits) or a prefix of one (at least 6 digits)',
})

/** `{id}` of a path. */
export const GROUP_PATH: TUnsafe<GroupPath> = shapeOf<GroupPath>()(Type.Object({ id }))

/** A path that names a member of a group. */
export interface MemberPath {
  readonly id: string
  /** In any PEER form. */
  readonly peerId: string
}

/** `{id}` and `{peerId}` of a path. */
export const MEMBER_PATH: TUnsafe<MemberPath> = shapeOf<MemberPath>()(
  Type.Object({ id, peerId: peer }),
)
