// Commands of contacts. Floor 5.
import type { Contact } from '../api/client.ts'
import { argument, deadline, given, PEER, textOf, TIMEOUT } from './command.ts'
import type { Command } from './command.ts'
import { cells } from './text.ts'

const FIELDS = ['peerId', 'name', 'verified', 'safetyNumber'] as const

const show = ({ peerId, name, verified, safetyNumber }: Contact): string =>
  cells(peerId, name, verified ? 'verified' : 'not verified', safetyNumber)

const add: Command = {
  name: 'contact add',
  about: 'Lets PEER reach this agent',
  args: [PEER],
  flags: [{ name: 'name', value: 'N', about: 'petname to give it' }, TIMEOUT],
  result: FIELDS,
  errors: ['USAGE_PEER_ID_INVALID', 'USAGE_PEER_UNKNOWN', 'VERIFY_SIGNATURE', 'VERIFY_EXPIRED'],
  async run(invocation) {
    const request = {
      peerId: argument(invocation, 0),
      ...given({ name: textOf(invocation, 'name') }),
    }
    invocation.print(await invocation.client.addContact(request, deadline(invocation)), show)
  },
}

const list: Command = {
  name: 'contact list',
  about: 'Who may reach this agent',
  flags: [TIMEOUT],
  result: FIELDS,
  errors: [],
  async run(invocation) {
    for (const contact of await invocation.client.contacts(deadline(invocation))) {
      invocation.print(contact, show)
    }
  },
}

const remove: Command = {
  name: 'contact remove',
  about: 'Makes PEER a stranger again',
  args: [PEER],
  flags: [TIMEOUT],
  result: FIELDS,
  errors: ['USAGE_PEER_UNKNOWN', 'USAGE_PEER_ID_INVALID'],
  async run(invocation) {
    const peer = argument(invocation, 0)
    invocation.print(await invocation.client.removeContact(peer, deadline(invocation)), show)
  },
}

const verify: Command = {
  name: 'contact verify',
  about: 'The safety number both sides can compare',
  args: [PEER],
  flags: [
    { name: 'match', value: 'NUMBER', about: 'marks PEER verified if this is the number' },
    TIMEOUT,
  ],
  result: FIELDS,
  errors: ['VERIFY_SAFETY_NUMBER', 'NETWORK_UNREACHABLE', 'USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const [peer, match] = [argument(invocation, 0), textOf(invocation, 'match')]
    invocation.print(await invocation.client.verifyContact(peer, match, deadline(invocation)), show)
  },
}

/** The table's part about contacts. */
export const CONTACT_COMMANDS: readonly Command[] = [add, list, remove, verify]
