// The MLS profile: capabilities of every leaf, extensions of every group. Floor 0, pure.
import type { Capabilities } from 'ts-mls/capabilities.js'
import type { Extension } from 'ts-mls/extension.js'
import { encodeRequiredCapabilities } from 'ts-mls/requiredCapabilities.js'
import { equalBytes } from '../../base/bytes.ts'
import type { Bytes } from '../../base/bytes.ts'
import { LAST_RESORT_EXTENSION, POLICY_EXTENSION } from '../mls-engine.ts'
import { SUITE_NAME } from './keys/suite.ts'
import { required } from './refusal.ts'

const REQUIRED = encodeRequiredCapabilities({
  extensionTypes: [POLICY_EXTENSION],
  proposalTypes: [],
  credentialTypes: ['basic'],
})

/** What every leaf says it can do. */
export function ownCapabilities(): Capabilities {
  return {
    versions: ['mls10'],
    ciphersuites: [SUITE_NAME],
    extensions: [LAST_RESORT_EXTENSION, POLICY_EXTENSION],
    proposals: [],
    credentials: ['basic'],
  }
}

/** True if a leaf can take part in groups of this profile. */
export function areCapable(capabilities: Capabilities): boolean {
  const { versions, ciphersuites, extensions, credentials } = capabilities
  return (
    versions.includes('mls10') &&
    ciphersuites.includes(SUITE_NAME) &&
    extensions.includes(POLICY_EXTENSION) &&
    credentials.includes('basic')
  )
}

/** GroupContext extensions of a group with this policy. */
export function toGroupExtensions(policy: Bytes): Extension[] {
  return [
    { extensionType: 'required_capabilities', extensionData: REQUIRED },
    { extensionType: POLICY_EXTENSION, extensionData: policy },
  ]
}

/** Reads the policy out of GroupContext extensions; refuses any that `toGroupExtensions` does not make. */
export function readPolicy(extensions: readonly Extension[]): Bytes {
  const [first, second] = extensions
  const fits =
    extensions.length === 2 &&
    first?.extensionType === 'required_capabilities' &&
    equalBytes(first.extensionData, REQUIRED) &&
    second?.extensionType === POLICY_EXTENSION
  return required(fits ? second.extensionData : undefined, 'extensions outside the profile')
}
