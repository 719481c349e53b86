// `npm run vectors`: writes protocols/*/vectors.json anew; with `--check`, fails where a file is not what would be written.
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'

interface Generator {
  readonly makeVectors: () => unknown
}

const check = process.argv.includes('--check')
let stale = false
for (const file of globSync('scripts/vectors/*.ts').sort()) {
  const { makeVectors } = (await import(`../${file}`)) as Generator
  const target = `protocols/${basename(file, '.ts')}/vectors.json`
  const text = `${JSON.stringify(makeVectors(), null, 2)}\n`
  if (!check) {
    writeFileSync(target, text)
    console.log(`wrote ${target}`)
  } else if (readFileSync(target, 'utf8') !== text) {
    console.log(
      `${target} is not what ${file} makes: run npm run vectors, and look at the difference`,
    )
    stale = true
  }
}
if (stale) process.exitCode = 1
