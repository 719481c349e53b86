// Groups of this agent. Floor 3. The protocol's engine is there (protocols/group); the service is not put together yet, and
// says so: there is no group, and none can be made.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { GroupService } from './types.ts'

/** Opens the groups. */
export function openGroups(): GroupService {
  const unknown = (group: string): Promise<never> =>
    Promise.reject(
      new ConclaveError('USAGE_GROUP_UNKNOWN', `there is no group ${group.slice(0, 80)}`, {
        hint: 'conclave group list shows the groups of this agent',
      }),
    )
  const notInvited = (group: string): Promise<never> =>
    Promise.reject(
      new ConclaveError(
        'USAGE_INVITATION_UNKNOWN',
        `no invitation to ${group.slice(0, 80)} waits`,
        {
          hint: 'conclave group invitations shows those that do',
        },
      ),
    )
  return {
    create: () =>
      Promise.reject(
        new ConclaveError('LIMIT_DENIED', 'this version makes no groups yet', {
          hint: 'direct messages work: conclave send',
        }),
      ),
    list: () => Promise.resolve([]),
    resolve: unknown,
    info: unknown,
    invite: unknown,
    remove: unknown,
    leave: unknown,
    rekey: unknown,
    setRole: unknown,
    send: unknown,
    read: unknown,
    invitations: () => Promise.resolve([]),
    join: notInvited,
    decline: notInvited,
  }
}
