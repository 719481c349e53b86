// The other process of the direct bench: a whole node that treats strangers as contacts and keeps what comes.
import { createNode } from '../../src/index.ts'

const [home = ''] = process.argv.slice(2)
await using node = await createNode({
  home,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  transports: ['tcp'],
  mdns: false,
  open: true,
})
process.send?.({ peerId: node.peerId, addresses: node.addresses })
await new Promise<void>((resolve) => process.once('disconnect', resolve))
