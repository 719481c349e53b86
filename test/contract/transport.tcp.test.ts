import { networkInterfaces } from 'node:os'
import * as assert from 'uvu/assert'
import { exchange, transportContract, withPair } from './transport.ts'

const tcp = { name: 'tcp', transports: ['tcp'], listen: '/ip4/127.0.0.1/tcp/0' } as const
const test = transportContract(tcp)

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((one) => one?.address === '::1')
if (hasIpv6) {
  test('IPv6 is as good as IPv4', async () => {
    await withPair({ ...tcp, listen: '/ip6/::1/tcp/0' }, async ({ dialler, listener }) => {
      const frame = Uint8Array.of(6)
      assert.equal(await exchange(dialler, listener.peerId, frame), frame)
      assert.match(dialler.connections()[0]?.address ?? '', /^\/ip6\/::1\//)
    })
  })
} else console.log('skipped: transport · tcp · IPv6: no address here')

test.run()
