// The other side of the OpenMLS interop test: one member, driven by a JSON object a line on stdin, answering one a line.
use std::io::{stdin, BufRead};

use openmls::prelude::{tls_codec::*, *};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use serde_json::{json, Value};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
const POLICY: u16 = 0xf0c1;

struct Member {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    group: Option<MlsGroup>,
}

fn capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![SUITE])
        .extensions(vec![ExtensionType::LastResort, ExtensionType::Unknown(POLICY)])
        .proposals(vec![])
        .credentials(vec![CredentialType::Basic])
        .build()
}

fn bytes(command: &Value, name: &str) -> Vec<u8> {
    hex::decode(command[name].as_str().unwrap_or_default()).expect("hexadecimal")
}

fn message(bytes: &[u8]) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact(bytes).expect("an MLSMessage")
}

fn encode<T: Serialize>(value: &T) -> String {
    hex::encode(value.tls_serialize_detached().expect("encodes"))
}

impl Member {
    fn new() -> Self {
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).expect("keys");
        signer.store(provider.storage()).expect("stored");
        // The credential is the peer ID: an identity multihash around the key.
        let mut identity = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
        identity.extend_from_slice(signer.public());
        let credential = CredentialWithKey {
            credential: BasicCredential::new(identity).into(),
            signature_key: signer.public().into(),
        };
        Member { provider, signer, credential, group: None }
    }

    fn group(&mut self) -> &mut MlsGroup {
        self.group.as_mut().expect("in a group")
    }

    fn state(&mut self) -> Value {
        let exported = {
            let crypto = self.provider.crypto();
            let group = self.group.as_ref().expect("in a group");
            group.export_secret(crypto, "interop", b"context", 32).expect("exports")
        };
        let group = self.group();
        json!({
            "epoch": group.epoch().as_u64(),
            "authenticator": hex::encode(group.epoch_authenticator().as_slice()),
            "exported": hex::encode(exported),
            "members": group.members().count(),
            "tree": encode(&group.export_ratchet_tree()),
        })
    }

    fn obey(&mut self, command: &Value) -> Value {
        match command["do"].as_str().unwrap_or_default() {
            "identity" => json!({ "key": hex::encode(self.signer.public()) }),
            "keyPackage" => {
                let bundle = KeyPackage::builder()
                    .leaf_node_capabilities(capabilities())
                    .build(SUITE, &self.provider, &self.signer, self.credential.clone())
                    .expect("a key package");
                let out = MlsMessageOut::from(bundle.key_package().clone());
                json!({ "keyPackage": encode(&out) })
            }
            "create" => {
                let required = RequiredCapabilitiesExtension::new(
                    &[ExtensionType::Unknown(POLICY)],
                    &[],
                    &[CredentialType::Basic],
                );
                let policy = UnknownExtension(bytes(command, "policy"));
                let extensions = Extensions::from_vec(vec![
                    Extension::RequiredCapabilities(required),
                    Extension::Unknown(POLICY, policy),
                ])
                .expect("extensions");
                let config = MlsGroupCreateConfig::builder()
                    .ciphersuite(SUITE)
                    .capabilities(capabilities())
                    .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
                    .with_group_context_extensions(extensions)
                    .build();
                let id = GroupId::from_slice(&bytes(command, "groupId"));
                let group = MlsGroup::new_with_group_id(
                    &self.provider,
                    &self.signer,
                    &config,
                    id,
                    self.credential.clone(),
                );
                self.group = Some(group.expect("a group"));
                self.state()
            }
            "join" => {
                let config = MlsGroupJoinConfig::builder()
                    .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
                    .build();
                let MlsMessageBodyIn::Welcome(welcome) =
                    message(&bytes(command, "welcome")).extract()
                else {
                    panic!("not a Welcome");
                };
                let tree = RatchetTreeIn::tls_deserialize_exact(bytes(command, "tree")).expect("a tree");
                let staged =
                    StagedWelcome::new_from_welcome(&self.provider, &config, welcome, Some(tree))
                        .expect("a staged welcome");
                self.group = Some(staged.into_group(&self.provider).expect("joins"));
                self.state()
            }
            "add" => {
                let MlsMessageBodyIn::KeyPackage(key_package) =
                    message(&bytes(command, "keyPackage")).extract()
                else {
                    panic!("not a KeyPackage");
                };
                let key_package = key_package
                    .validate(self.provider.crypto(), ProtocolVersion::Mls10)
                    .expect("valid");
                let group = self.group.as_mut().expect("in a group");
                let (commit, welcome, _) = group
                    .add_members(&self.provider, &self.signer, &[key_package])
                    .expect("adds");
                group.merge_pending_commit(&self.provider).expect("merges");
                let mut state = self.state();
                state["commit"] = json!(encode(&commit));
                state["welcome"] = json!(encode(&welcome));
                state
            }
            "update" => {
                let group = self.group.as_mut().expect("in a group");
                let bundle = group
                    .self_update(&self.provider, &self.signer, LeafNodeParameters::default())
                    .expect("updates");
                let commit = encode(bundle.commit());
                group.merge_pending_commit(&self.provider).expect("merges");
                let mut state = self.state();
                state["commit"] = json!(commit);
                state
            }
            "remove" => {
                let group = self.group.as_mut().expect("in a group");
                let key = bytes(command, "key");
                let found = group.members().find(|member| member.signature_key == key);
                let index = found.expect("a member").index;
                let (commit, _, _) = group
                    .remove_members(&self.provider, &self.signer, &[index])
                    .expect("removes");
                group.merge_pending_commit(&self.provider).expect("merges");
                let mut state = self.state();
                state["commit"] = json!(encode(&commit));
                state
            }
            "process" => {
                let incoming = message(&bytes(command, "message"));
                let protocol = incoming.try_into_protocol_message().expect("of a group");
                let group = self.group.as_mut().expect("in a group");
                let processed = group.process_message(&self.provider, protocol).expect("processes");
                match processed.into_content() {
                    ProcessedMessageContent::ApplicationMessage(application) => {
                        json!({ "plaintext": hex::encode(application.into_bytes()) })
                    }
                    ProcessedMessageContent::StagedCommitMessage(commit) => {
                        group.merge_staged_commit(&self.provider, *commit).expect("merges");
                        self.state()
                    }
                    _ => panic!("neither message nor commit"),
                }
            }
            "say" => {
                let group = self.group.as_mut().expect("in a group");
                let sealed = group
                    .create_message(&self.provider, &self.signer, &bytes(command, "plaintext"))
                    .expect("seals");
                json!({ "message": encode(&sealed) })
            }
            other => panic!("unknown command {other}"),
        }
    }
}

fn main() {
    let mut member = Member::new();
    for line in stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        println!("{}", member.obey(&command));
    }
}
