// The ledger of the MLS working group's vectors against the files themselves, and against spec.md §9.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { expectedOf, gapRows, LEDGER } from '../support/mls-ledger.ts'
import { mlsVectors } from '../support/mls-vectors.ts'
import { vectorsFolder } from '../support/vectors.ts'

const test = suite('group · mls ledger')
const FOLDER = `${vectorsFolder()}/mls`

/** Fields that are cases of their own in these files. */
const FIELDS_ARE_OPERATIONS = ['crypto-basics', 'messages']
/** RFC 9420 §12.1: the type that an encoded Proposal begins with. */
const PROPOSAL_TYPES: Readonly<Record<string, string>> = {
  '0001': 'add',
  '0002': 'update',
  '0003': 'remove',
}

interface AnyCase {
  readonly cipher_suite?: number
  readonly proposal?: string
}

test('every file of the folder is in the ledger, and no other', () => {
  if (!existsSync(FOLDER)) {
    console.log('skipped: group · mls ledger')
    return
  }
  const files = readdirSync(FOLDER).map((name) => name.replace(/\.json$/, ''))
  assert.equal(files.sort(), Object.keys(LEDGER).sort())
  assert.is(files.length, 16)
})

test('the ledger has each suite of each file with its number of cases', () => {
  for (const [file, ledger] of Object.entries(LEDGER)) {
    const cases = mlsVectors<AnyCase>(file)
    if (cases === undefined) continue
    const counts = new Map<number, number>()
    for (const { cipher_suite: id = 0 } of cases) counts.set(id, (counts.get(id) ?? 0) + 1)
    assert.equal([...counts.keys()], ledger.suites, file)
    for (const count of counts.values()) assert.is(count, ledger.cases, file)
    if (!FIELDS_ARE_OPERATIONS.includes(file)) continue
    const fields = Object.keys(cases[0] ?? {}).filter((field) => field !== 'cipher_suite')
    assert.equal(fields.sort(), Object.keys(ledger.operations).sort(), file)
  }
})

test('operations on trees are counted by their kind', () => {
  const counts: Record<string, number> = {}
  for (const { proposal = '' } of mlsVectors<AnyCase>('tree-operations') ?? []) {
    const kind = PROPOSAL_TYPES[proposal.slice(0, 4)] ?? 'unknown'
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  for (const [kind, count] of Object.entries(counts)) {
    assert.is(LEDGER['tree-operations']?.operations[kind]?.cases, count)
  }
})

test('every operation of suite 1, or of none, is run by one runner at least', () => {
  for (const [file, { operations, suites }] of Object.entries(LEDGER)) {
    const ran = { ...expectedOf(file, 'engine'), ...expectedOf(file, 'ts-mls') }
    for (const operation of Object.keys(operations)) {
      assert.ok(ran[`${operation} · ${suites[0] ?? 0}`], `${file}: ${operation}`)
    }
  }
})

test('spec.md §9 lists what does not run, with its reason', () => {
  const spec = readFileSync('protocols/group/spec.md', 'utf8')
  const section = spec.slice(spec.indexOf('## 9. Test vectors'), spec.indexOf('## Changelog'))
  const rows = section.split('\n').filter((line) => /^\| (engine|ts-mls) /.test(line))
  const cells = rows.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
  assert.equal(cells, gapRows())
})

test.run()
