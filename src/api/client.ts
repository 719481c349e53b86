// The typed client of the local API: everything that the command line can do. Floor 4.
import type { Static } from 'typebox'
import { followEvents } from './client-events.ts'
import type { ClientEvent, FollowOptions } from './client-events.ts'
import { notRunning, readApiFile, waitUntilClosed } from './client-home.ts'
import { send } from './client-http.ts'
import type { Call } from './client-http.ts'
import type { AddContactRequest, CONTACT } from './schema/contact.ts'
import type {
  HandledResult,
  INBOX,
  InboxFilter,
  MessageBody,
  OUTBOX,
  SEND_RESULT,
  SendRequest,
} from './schema/direct.ts'
import type {
  EpochResult,
  GROUP,
  GROUP_INFO,
  GROUP_MESSAGES,
  GroupFilter,
  GroupResult,
  GroupSendResult,
  INVITATIONS,
  InviteRequest,
  InviteResult,
  RemoveResult,
  RoleRequest,
  RoleResult,
} from './schema/group.ts'
import type {
  PEERS,
  PING_RESULT,
  PingRequest,
  STATUS,
  StopResult,
  TicketQuery,
  TicketResult,
  WHY,
} from './schema/node.ts'

/** A state that `send` may wait for. */
export type AwaitedState = NonNullable<SendRequest['until']>
/** One page about the node. */
export type Status = Static<typeof STATUS>
/** A connected peer. */
export type Peer = Static<typeof PEERS>[number]
/** Round trips. */
export type PingResult = Static<typeof PING_RESULT>
/** How a peer is or is not reachable. */
export type Why = Static<typeof WHY>
/** A contact. */
export type Contact = Static<typeof CONTACT>
/** What became of a message. */
export type SendResult = Static<typeof SEND_RESULT>
/** A message received. */
export type InboxMessage = Static<typeof INBOX>[number]
/** A message on its way. */
export type OutboxMessage = Static<typeof OUTBOX>[number]
/** A group of a list. */
export type Group = Static<typeof GROUP>
/** One group. */
export type GroupInfo = Static<typeof GROUP_INFO>
/** A message of a group. */
export type GroupMessage = Static<typeof GROUP_MESSAGES>[number]
/** An invitation that waits. */
export type Invitation = Static<typeof INVITATIONS>[number]

/** What every call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** What a call that sends a message takes. */
export interface SendOptions extends CallOptions {
  /** The same key answers the same message. */
  readonly idempotencyKey?: string
}

/**
 * A node's local API, one method a route. PEER and GROUP arguments may have any form.
 *
 * Every method throws ConclaveError `NETWORK_NODE_NOT_RUNNING`, or what the node answered.
 */
export interface Client {
  status(options?: CallOptions): Promise<Status>
  peers(options?: CallOptions): Promise<Peer[]>
  ticket(query: TicketQuery, options?: CallOptions): Promise<TicketResult>
  ping(peer: string, request: PingRequest, options?: CallOptions): Promise<PingResult>
  why(peer: string, options?: CallOptions): Promise<Why>
  /** Stops the node and waits until its process has ended. */
  stop(options: { readonly signal: AbortSignal }): Promise<StopResult>
  send(request: SendRequest, options?: SendOptions): Promise<SendResult>
  inbox(filter: InboxFilter, options?: CallOptions): Promise<InboxMessage[]>
  handled(ids: readonly string[], options?: CallOptions): Promise<HandledResult>
  outbox(options?: CallOptions): Promise<OutboxMessage[]>
  contacts(options?: CallOptions): Promise<Contact[]>
  addContact(request: AddContactRequest, options?: CallOptions): Promise<Contact>
  removeContact(peer: string, options?: CallOptions): Promise<Contact>
  /** Answers the safety number; `match` marks the contact verified. */
  verifyContact(peer: string, match: string | undefined, options?: CallOptions): Promise<Contact>
  groups(options?: CallOptions): Promise<Group[]>
  createGroup(name: string, options?: CallOptions): Promise<Group>
  group(group: string, options?: CallOptions): Promise<GroupInfo>
  invite(group: string, request: InviteRequest, options?: CallOptions): Promise<InviteResult>
  /** Removes one or more members in one commit. */
  removeMembers(
    group: string,
    peers: readonly [string, ...string[]],
    options?: CallOptions,
  ): Promise<RemoveResult>
  setRole(
    group: string,
    peer: string,
    role: RoleRequest['role'],
    options?: CallOptions,
  ): Promise<RoleResult>
  leave(group: string, options?: CallOptions): Promise<GroupResult>
  rekey(group: string, options?: CallOptions): Promise<EpochResult>
  sendToGroup(group: string, body: MessageBody, options?: SendOptions): Promise<GroupSendResult>
  read(group: string, filter: GroupFilter, options?: CallOptions): Promise<GroupMessage[]>
  invitations(options?: CallOptions): Promise<Invitation[]>
  join(group: string, options?: CallOptions): Promise<Group>
  decline(group: string, options?: CallOptions): Promise<GroupResult>
  /** Follows events; see `followEvents`. */
  follow(options: FollowOptions): Promise<AsyncIterable<ClientEvent>>
}

/** A client of the node that runs on a home. It holds nothing open between calls. */
export function makeClient(home: string): Client {
  const call = <T>(
    method: Call['method'],
    path: string,
    rest: Omit<Call, 'method' | 'path'> = {},
  ): Promise<T> => send<T>(home, { method, path, ...rest })
  return { ...nodeCalls(home, call), ...directCalls(call), ...groupCalls(call) }
}

type Caller = <T>(
  method: Call['method'],
  path: string,
  rest?: Omit<Call, 'method' | 'path'>,
) => Promise<T>

type NodeCalls = 'status' | 'peers' | 'ticket' | 'ping' | 'why' | 'stop' | 'follow'
type DirectCalls =
  | 'send'
  | 'inbox'
  | 'handled'
  | 'outbox'
  | 'contacts'
  | 'addContact'
  | 'removeContact'
  | 'verifyContact'

const part = encodeURIComponent

function nodeCalls(home: string, call: Caller): Pick<Client, NodeCalls> {
  return {
    status: (options) => call('GET', '/v1/status', options),
    peers: (options) => call('GET', '/v1/peers', options),
    ticket: (query, options) => call('GET', '/v1/ticket', { query: { ...query }, ...options }),
    ping: (peer, body, options) => call('POST', `/v1/ping/${part(peer)}`, { body, ...options }),
    why: (peer, options) => call('GET', `/v1/why/${part(peer)}`, options),
    stop: async (options) => {
      const file = await readApiFile(home)
      if (file === undefined) throw notRunning(home)
      const result = await call<StopResult>('POST', '/v1/shutdown', options)
      await waitUntilClosed(home, file, options)
      return result
    },
    follow: (options) => followEvents(home, options),
  }
}

function directCalls(call: Caller): Pick<Client, DirectCalls> {
  return {
    send: (body, options) =>
      call('POST', '/v1/messages', { body, ...keyed(options), signal: options?.signal }),
    inbox: (query, options) => call('GET', '/v1/inbox', { query: { ...query }, ...options }),
    handled: (ids, options) => call('POST', '/v1/inbox/handled', { body: { ids }, ...options }),
    outbox: (options) => call('GET', '/v1/outbox', options),
    contacts: (options) => call('GET', '/v1/contacts', options),
    addContact: (body, options) => call('POST', '/v1/contacts', { body, ...options }),
    removeContact: (peerId, options) =>
      call('DELETE', '/v1/contacts', { query: { peerId }, ...options }),
    verifyContact: (peer, match, options) => {
      const path = `/v1/contacts/${part(peer)}/safety-number`
      return match === undefined
        ? call('GET', path, options)
        : call('POST', path, { body: { match }, ...options })
    },
  }
}

function groupCalls(call: Caller): Omit<Client, NodeCalls | DirectCalls> {
  const at = (group: string, below = ''): string => `/v1/groups/${part(group)}${below}`
  const member = (peer: string): string => `/members/${part(peer)}`
  return {
    groups: (options) => call('GET', '/v1/groups', options),
    createGroup: (name, options) => call('POST', '/v1/groups', { body: { name }, ...options }),
    group: (group, options) => call('GET', at(group), options),
    invite: (group, body, options) => call('POST', at(group, '/members'), { body, ...options }),
    removeMembers: (group, [first, ...peers], options) =>
      call('DELETE', at(group, member(first)), {
        ...(peers.length > 0 && { body: { peers } }),
        ...options,
      }),
    setRole: (group, peer, role, options) =>
      call('PUT', at(group, `${member(peer)}/role`), { body: { role }, ...options }),
    leave: (group, options) => call('POST', at(group, '/leave'), options),
    rekey: (group, options) => call('POST', at(group, '/rekey'), options),
    sendToGroup: (group, body, options) =>
      call('POST', at(group, '/messages'), { body, ...keyed(options), signal: options?.signal }),
    read: (group, query, options) =>
      call('GET', at(group, '/messages'), { query: { ...query }, ...options }),
    invitations: (options) => call('GET', '/v1/invitations', options),
    join: (group, options) => call('POST', `/v1/invitations/${part(group)}/join`, options),
    decline: (group, options) => call('POST', `/v1/invitations/${part(group)}/decline`, options),
  }
}

function keyed(options: SendOptions | undefined): Pick<Call, 'headers'> {
  const key = options?.idempotencyKey
  return key === undefined ? {} : { headers: { 'idempotency-key': key } }
}
