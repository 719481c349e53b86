// A host in a process of its own, to be killed: prints its addresses, echoes frames, never ends by itself.
import { isTransportName } from '../../src/host/transports.ts'
import { STREAM, echo, startHost } from './hosts.ts'
import { unix } from './unix-transport.ts'

const [listen = '', ...names] = process.argv.slice(2)
const transports = names.map((name) => (isTransportName(name) ? name : unix()))
const host = await startHost('bob', { transports, listen: [listen] })
await host.handle('/test/echo/1.0.0', STREAM, echo)
console.log(JSON.stringify({ peerId: host.peerId, addresses: host.addresses() }))
// Standard input ends with the parent, whatever happened to it.
process.stdin.on('end', () => process.exit()).resume()
