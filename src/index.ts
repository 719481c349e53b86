// The library: a node in the caller's own process. Public exports only.
import { locateHome } from './store/home.ts'
import type { KeySource } from './store/key-source.ts'
import { openAgent } from './node/agent.ts'
import type { AgentOptions } from './node/agent.ts'
import { wrapAgent } from './node/library.ts'
import type { Node } from './node/library.ts'
import { QUIET_LOG } from './node/log.ts'
import { VERSION } from './version.ts'

export { ConclaveError } from '../protocols/base/errors.ts'
export type { ErrorCode } from '../protocols/base/error-codes.ts'
export type { PeerId } from '../protocols/base/ids.ts'
export type { Body, Group, Node, ReceivedMessage } from './node/library.ts'
export type { Agent, MessageState, SendOptions, SendResult } from './node/types.ts'

/** What a node is made from; every part but the home has a default, as the flags of `conclave up` have. */
export interface NodeOptions extends Omit<AgentOptions, 'home' | 'key' | 'log' | 'version'> {
  /** Folder of the node; made where there is none. */
  readonly home: string
  /** Where the key that seals the database comes from; `secret.key` in the home if absent. */
  readonly key?: KeySource
  readonly log?: AgentOptions['log']
}

/**
 * Starts a node in this process, without a local API.
 *
 * @throws ConclaveError any code of the `STORE`, `USAGE` and `NETWORK` families.
 */
export async function createNode(options: NodeOptions): Promise<Node> {
  const { home, key = { kind: 'file' }, log = QUIET_LOG, ...rest } = options
  const agent = await openAgent({
    ...rest,
    home: locateHome(home, undefined),
    key,
    log,
    version: VERSION,
  })
  return wrapAgent(agent)
}
