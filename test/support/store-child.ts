// A process that opens a home's store and holds it, counts into it, or fills the disk: `store-child.ts HOME MODE [FROM]`.
import { ConclaveError } from '../../protocols/base/errors.ts'
import { locateHome } from '../../src/store/home.ts'
import { put } from '../../src/store/types.ts'
import { openHome } from './store.ts'

const [path = '', mode = '', from = '0'] = process.argv.slice(2)
try {
  const { store } = await openHome(locateHome(path, undefined))
  if (mode === 'hold') {
    console.log('held')
    setInterval(() => undefined, 1_000)
  } else if (mode === 'count') {
    for (let i = Number(from); ; i++) {
      await store.commit([put('n', String(i), new Uint8Array(200))])
      process.stdout.write(`${i}\n`)
    }
  } else {
    for (let i = 0; i < 10_000; i++) {
      await store.commit([
        put(
          'fill',
          String(i),
          new Uint8Array(10_000).map(() => i % 251),
        ),
      ])
    }
  }
} catch (error) {
  console.log(error instanceof ConclaveError ? error.code : String(error))
  process.exit(0)
}
