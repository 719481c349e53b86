// The other process of the transport bench: serves one stack, prints its address, runs until it is killed.
import { serveStack } from './transport-stacks.ts'
import type { StackName } from './transport-stacks.ts'

console.log(await serveStack(process.argv[2] as StackName))
