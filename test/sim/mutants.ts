// Members that break a rule each, made by changing a line of the sources as they are loaded: what the simulator must find.
import { registerHooks } from 'node:module'
import type { PlayOptions } from './play.ts'
import type * as Play from './play.ts'
import type { ScenarioName } from './script.ts'

/** One broken rule. */
export interface Mutant {
  readonly name: string
  /** Where the rule is, and how it is broken. */
  readonly file: string
  readonly from: string
  readonly to: string
  /** The kind of runs that shows it soonest. */
  readonly scenario: ScenarioName
  /** How many members show it soonest, if it matters. */
  readonly members?: number
  /** Which invariants it breaks. */
  readonly breaks: RegExp
}

/** Rules that are broken on purpose. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'the branch that was heard of first wins',
    file: 'protocols/group/selection.ts',
    from: 'weighed.sort((a, b) => b.weight - a.weight || (a.id < b.id ? -1 : 1))',
    to: '',
    scenario: 'long',
    breaks: /convergence|order independence|no message lost/,
  },
  {
    name: 'no tie-break',
    file: 'protocols/group/selection.ts',
    from: 'b.weight - a.weight || (a.id < b.id ? -1 : 1)',
    to: 'b.weight - a.weight',
    scenario: 'usual',
    members: 4,
    breaks: /convergence|order independence/,
  },
  {
    name: 'removals on other branches are forgotten',
    file: 'protocols/group/tombstones.ts',
    from: 'if (chain.forks.length === 0 && !chain.children.has(tip)) return',
    to: 'if (chain.forks.length >= 0) return',
    scenario: 'quarrels',
    members: 6,
    breaks: /removed stays removed|convergence|liveness/,
  },
  {
    name: 'no barrier',
    file: 'protocols/group/commits.ts',
    from: 'export function mustCommitFirst(turn: GroupTurn): boolean {',
    to: 'export function mustCommitFirst(turn: GroupTurn): boolean {\n  if (turn.nowMs > 0) return false',
    scenario: 'backups',
    members: 4,
    breaks: /removed stays removed|key uniqueness/,
  },
  {
    name: 'publish, then persist',
    file: 'test/sim/group-node.ts',
    from: 'const point = this.#burn()\n',
    to: `for (const one of effects) {
      if (one.kind === 'publish') await this.#publish(one.generation, one.frame)
    }
    const point = this.#burn()\n`,
    scenario: 'usual',
    breaks: /own-commit recovery|key uniqueness|no message lost|liveness|convergence/,
  },
  {
    name: 'handles share their secrets',
    file: 'test/support/fake-mls-engine.ts',
    from: 'states.set(handle, copyOf(state))',
    to: 'states.set(handle, state)',
    scenario: 'usual',
    breaks: /.*/,
  },
  {
    name: 'epochs are not wiped',
    file: 'src/node/group-rows.ts',
    from: 'return [del(T.epoch, at(effect.commitId)), del(T.snapshot, at(effect.commitId))]',
    to: 'return []',
    scenario: 'usual',
    breaks: /forward secrecy/,
  },
  {
    name: 'what was opened is not saved as opened',
    file: 'protocols/group/messages.ts',
    from: "  if (!turn.state.held.has(job.epoch)) return\n  turn.ask({ kind: 'saveSnapshot', commitId: job.epoch, snapshot: result.snapshot })",
    to: '  if (!turn.state.held.has(job.epoch)) return',
    scenario: 'usual',
    breaks: /forward secrecy/,
  },
  {
    name: 'an old backup goes on as if nothing had been',
    file: 'protocols/group/machine.ts',
    from: 'event.regressed && ',
    to: 'event.regressed && event.nowMs < 0 && ',
    scenario: 'backups',
    breaks: /key uniqueness|exactly once|no message lost/,
  },
  {
    name: 'the smaller id before the more votes',
    file: 'protocols/group/selection.ts',
    from: 'b.weight - a.weight || (a.id < b.id ? -1 : 1)',
    to: '(a.id < b.id ? -1 : 1)',
    scenario: 'liars',
    breaks: /selection stability/,
  },
  {
    name: 'what failed here is never followed, whoever followed it',
    file: 'protocols/group/selection.ts',
    from: 'if (hasMajority(chain, votes, id)) return true',
    to: 'if (failed !== false) return false',
    scenario: 'liars',
    breaks: /convergence/,
  },
  {
    name: 'a removal that is not to be had yet is none',
    file: 'protocols/group/tombstones.ts',
    from: ' && leadsTo(chain, id, selected)',
    to: '',
    scenario: 'quarrels',
    breaks: /removed stays removed/,
  },
]

/** Loads the simulator with a rule broken: its modules are others than those of this process. */
export async function loadMutant(mutant: Mutant): Promise<(typeof Play)['play']> {
  const tag = `?mutant=${MUTANTS.indexOf(mutant)}`
  const broken: string[] = []
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context)
      const isOurs = found.url.startsWith('file:') && !found.url.includes('/node_modules/')
      const isTagged = context.parentURL?.endsWith(tag) === true || specifier.endsWith(tag)
      return isOurs && isTagged && !found.url.includes('?')
        ? { ...found, url: `${found.url}${tag}` }
        : found
    },
    load(url, context, next) {
      const loaded = next(url, context)
      if (!url.endsWith(`${mutant.file}${tag}`)) return loaded
      const source = Buffer.from(loaded.source as Uint8Array).toString()
      if (source.includes(mutant.from)) broken.push(url)
      return { ...loaded, source: source.replace(mutant.from, mutant.to) }
    },
  })
  try {
    const { play } = (await import(`./play.ts${tag}`)) as typeof Play
    if (broken.length === 0) throw new Error(`${mutant.file} does not say: ${mutant.from}`)
    return play
  } finally {
    hooks.deregister()
  }
}

/** How mutants are played: the fake engine is enough for all of them. */
export const MUTANT_OPTIONS: PlayOptions = { engine: 'fake' }
