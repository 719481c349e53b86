// House rules that no other tool knows. Part of `npm run check`; prints each breach, exits 1 if there is any.
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ERROR_CODES } from '../protocols/base/error-codes.ts'
import { parseQuantity } from './tidy/quantity.ts'

const breaches: string[] = []
const breach = (where: string, what: string): void => {
  breaches.push(`${where}: ${what}`)
}
const read = (file: string): string => readFileSync(file, 'utf8')
const sources = globSync('{protocols,src,test,scripts}/**/*.ts').filter(
  (file) => !file.endsWith('_pb.ts') && !file.includes('node_modules'),
)

/** A protocol that is more than a draft has its spec, types, vectors, tests and (but for the two that only others use) a handler. */
function kitsAreComplete(): void {
  for (const folder of protocols()) {
    for (const file of ['spec.md', 'types.ts', 'vectors.json']) {
      if (!existsSync(`protocols/${folder}/${file}`)) breach(`protocols/${folder}`, `no ${file}`)
    }
    if (globSync(`test/protocols/${folder}.*.test.ts`).length === 0) {
      breach(`protocols/${folder}`, `no test/protocols/${folder}.*.test.ts`)
    }
    if (folder !== 'identity' && globSync(`src/handlers/${folder}*.ts`).length === 0) {
      breach(`protocols/${folder}`, `no src/handlers/${folder}.ts`)
    }
    const row = new RegExp(`\\(${folder}/spec\\.md\\)`)
    if (!row.test(read('protocols/README.md'))) breach('protocols/README.md', `no row: ${folder}`)
  }
}

function protocols(): string[] {
  return globSync('protocols/*/').flatMap((path) => {
    const folder = path.replace(/^protocols[/\\]/, '').replace(/[/\\]$/, '')
    const row = new RegExp(`^\\| ${folder} +\\|.*\\| draft`, 'm')
    return folder === 'base' || row.test(read('protocols/README.md')) ? [] : [folder]
  })
}

/** uvu passes a file that forgets `.run()`. */
function testsRun(): void {
  for (const file of sources.filter((name) => name.endsWith('.test.ts'))) {
    if (!/\.run\(\)\s*$|run[A-Z]\w*\([^]*\)\s*$/.test(read(file)))
      breach(file, 'ends without .run()')
  }
}

/** Marks for later work carry no weight unless an issue does. */
function noLooseEnds(): void {
  const marks = ['TO_DO', 'FIX_ME', 'XX_X'].map((mark) => mark.replace('_', ''))
  const mark = new RegExp(`\\b(?:${marks.join('|')})\\b`)
  for (const file of sources) {
    if (mark.test(read(file))) breach(file, 'a mark for later work without an issue')
    if (file !== 'src/index.ts' && /^export (?:\*|\{[^}]*\}) from /m.test(read(file))) {
      breach(file, 'hands on exports of another file')
    }
  }
}

/** Relative links of pages lead somewhere, and anchors within a page exist. */
function linksResolve(): void {
  for (const page of ['README.md', ...globSync('protocols/**/*.md')]) {
    const text = read(page)
    const anchors = new Set([...text.matchAll(/^#+ (.+)$/gm)].map((match) => slug(match[1] ?? '')))
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      if (path === '' && anchor !== undefined && !anchors.has(anchor)) breach(page, `no #${anchor}`)
      if (path !== '' && !existsSync(join(dirname(page), path))) breach(page, `no ${path}`)
    }
  }
}

function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
}

/** Labels are unique, and none is the beginning of another: their inputs stay apart. */
function labelsAreApart(): void {
  const labels = new Map<string, string>()
  for (const file of globSync('protocols/**/*.ts')) {
    for (const [, label = ''] of read(file).matchAll(
      /= (?:utf8\()?'(conclave [a-z-]+ v1 [^']+)'/g,
    )) {
      const other = labels.get(label)
      if (other !== undefined) breach(file, `label “${label}” is in ${other} too`)
      labels.set(label, file)
    }
  }
  for (const a of labels.keys()) {
    for (const b of labels.keys()) {
      if (a !== b && b.startsWith(a)) breach(labels.get(a) ?? '', `label “${a}” begins “${b}”`)
    }
  }
}

/** Constants in a spec's tables are those of its types.ts. */
async function constantsMatch(): Promise<void> {
  for (const folder of protocols()) {
    if (!existsSync(`protocols/${folder}/spec.md`)) continue
    const values = (await import(`../protocols/${folder}/types.ts`)) as Record<string, unknown>
    const cells = /\|\s*`([A-Z][A-Z0-9_]+)`\s*\|\s*([^|]+?)\s*(?=\|)/g
    for (const [, name = '', text = ''] of read(`protocols/${folder}/spec.md`).matchAll(cells)) {
      if (name in ERROR_CODES) continue
      const said = parseQuantity(text)
      if (said === undefined) continue
      if (values[name] !== said) {
        breach(`protocols/${folder}/spec.md`, `${name} is ${String(values[name])}, not ${text}`)
      }
    }
  }
}

/** Every code that a protocol names after itself is in its spec; every code is used; specs name no other. */
function codesMatch(): void {
  const used = sources
    .filter((file) => !file.endsWith('error-codes.ts'))
    .map(read)
    .join('\n')
  const specs = globSync('protocols/*/spec.md').map((file) => read(file))
  for (const code of Object.keys(ERROR_CODES)) {
    if (!used.includes(`'${code}'`))
      breach('protocols/base/error-codes.ts', `${code} is never used`)
    const owner = /^(DIRECT|PREKEYS|GROUP|MAILBOX)_/.exec(code)?.[1]?.toLowerCase() ?? ''
    const isDraft = !protocols().includes(owner === 'prekeys' ? 'direct' : owner)
    if (owner !== '' && !isDraft && !specs.some((s) => s.includes(code))) {
      breach('protocols/base/error-codes.ts', `${code} is in no spec`)
    }
  }
  const codes =
    /`((?:DIRECT|PREKEYS|GROUP|MAILBOX|CODEC|VERIFY|STATE|USAGE|STORE|NETWORK)_[A-Z_]+)`/g
  for (const file of globSync('protocols/*/spec.md')) {
    const text = read(file)
    const errors = /^## 6[^]*?(?=^## )/m.exec(text)?.[0] ?? ''
    for (const [, code = ''] of errors.matchAll(codes)) {
      if (!(code in ERROR_CODES)) breach(file, `${code} is no error code`)
    }
  }
}

/** Generated files are what their sources make. */
function generatedAreCurrent(): void {
  const scratch = mkdtempSync(join(tmpdir(), 'conclave-tidy-'))
  try {
    execFileSync('buf', ['generate', '--template', 'scripts/buf.gen.yaml', '--output', scratch])
    for (const file of globSync('protocols/**/*_pb.ts')) {
      const fresh = join(scratch, file)
      if (!existsSync(fresh) || read(fresh) !== read(file)) breach(file, 'run npm run generate')
    }
    execFileSync(process.execPath, ['scripts/vectors.ts', '--check'], { stdio: 'pipe' })
  } catch (error) {
    breach('generated files', error instanceof Error ? error.message : String(error))
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** The project speaks of itself alone. */
function noForeignPlaces(): void {
  const tracked = execFileSync('git', ['ls-files'], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean)
  for (const file of tracked.filter((name) => name !== 'package-lock.json' && existsSync(name))) {
    if (/(?<![\w./-])\/(?:work|root|home\/\w+)\//.test(read(file))) breach(file, "a machine's path")
  }
}

kitsAreComplete()
testsRun()
noLooseEnds()
linksResolve()
labelsAreApart()
await constantsMatch()
codesMatch()
generatedAreCurrent()
noForeignPlaces()
for (const line of breaches) console.log(line)
if (breaches.length > 0) process.exitCode = 1
