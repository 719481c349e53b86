import { transportContract } from './transport.ts'

transportContract({ name: 'ws', transports: ['ws'], listen: '/ip4/127.0.0.1/tcp/0/ws' }).run()
