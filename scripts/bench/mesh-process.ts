// One process of the mesh bench: some of its nodes. The bench says what they do, and is told what has reached them.
import { MeshNode } from './mesh-node.ts'
import type { Thing } from './mesh-node.ts'

/** What a node can be asked to do. */
export type NodeCall =
  'facts' | 'meet' | 'found' | 'isIn' | 'cause' | 'authenticator' | 'stop' | 'restart'

/** From the bench: the node is made by `start`, and is one of this process's from then on; `usage` is of none. */
export interface Order {
  readonly id: number
  readonly node: number
  readonly call: NodeCall | 'start' | 'usage'
  readonly args: readonly unknown[]
}

/** To the bench: an answer to an order, or what has reached a node. */
export type Report =
  | { readonly id: number; readonly value?: unknown; readonly error?: string }
  | { readonly node: number; readonly thing: Thing; readonly atMs: number }

/** What a process has used so far. */
export interface Usage {
  readonly cpuMs: number
  readonly mostMiB: number
  /** Rejections that nobody handled, as text. They would end the program: here they are counted. */
  readonly loose: readonly string[]
}

type Method = (...args: readonly unknown[]) => unknown

const nodes = new Map<number, MeshNode>()
const loose: string[] = []

function tell(report: Report): void {
  // A bench that was ended meanwhile hears nothing any more.
  if (process.connected) process.send?.(report, undefined, undefined, () => undefined)
}

async function obey({ node, call, args }: Order): Promise<unknown> {
  if (call === 'usage') return usage()
  if (call === 'start') {
    const made = await MeshNode.start(String(args[0]), (thing, atMs) => tell({ node, thing, atMs }))
    nodes.set(node, made)
    return made.facts()
  }
  const one = nodes.get(node)
  if (one === undefined) throw new Error(`node ${node} is not here`)
  return (one[call] as Method).apply(one, [...args])
}

function usage(): Usage {
  const { user, system } = process.cpuUsage()
  const mostMiB = process.resourceUsage().maxRSS / 1_024
  return { cpuMs: (user + system) / 1_000, mostMiB, loose }
}

process.on('unhandledRejection', (reason) => {
  loose.push(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason))
})
process.on('message', (order: Order) => {
  obey(order).then(
    (value) => tell({ id: order.id, value }),
    (error: unknown) => tell({ id: order.id, error: String(error) }),
  )
})
// The bench has ended, or has let go.
process.once('disconnect', () => {
  void Promise.allSettled([...nodes.values()].map((node) => node.stop())).then(() => process.exit())
})
