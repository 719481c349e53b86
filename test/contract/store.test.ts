// The store contract over LevelDB and over memory.
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { locateHome } from '../../src/store/home.ts'
import { memoryStore, openHome, Scratch } from '../support/store.ts'
import { runStoreContract } from './store.ts'

const scratch = new Scratch()
process.on('exit', () => scratch[Symbol.dispose]())

runStoreContract('memory', () => Promise.resolve(memoryStore()))
runStoreContract('LevelDB', async () => {
  const home = locateHome(mkdtempSync(join(scratch.path, 'home-')), undefined)
  return (await openHome(home)).store
})
