#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::client::ClientFiles;
use super::server::{ClientCertificates, ServerFiles};
use super::*;
use std::path::Path;

fn pair(directory: &Path, name: &str) -> PairFiles {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let pair =
        PairFiles { certificate: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) };
    std::fs::write(&pair.certificate, made.cert.pem()).unwrap();
    std::fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
    pair
}

fn server(pairs: Vec<PairFiles>, client_ca: Option<PathBuf>) -> String {
    let files = ServerFiles {
        pairs,
        client_ca,
        client_certificates: ClientCertificates::Required,
        min_version: MinVersion::Tls12,
    };
    match files.load() {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_wrong_with_files_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (a, b) = (pair(directory.path(), "a.example"), pair(directory.path(), "b.example"));
    assert_eq!(server(vec![a.clone(), b.clone()], Some(a.certificate.clone())), "good");

    let crossed = PairFiles { certificate: a.certificate.clone(), key: b.key.clone() };
    let said = server(vec![crossed], None);
    assert!(said.contains("a.example.pem") && said.contains("cannot be used together"), "{said}");

    let swapped = PairFiles { certificate: a.key.clone(), key: a.certificate.clone() };
    let said = server(vec![swapped], None);
    assert!(said.contains("a.example.key has no certificate in PEM form"), "{said}");

    let absent = PairFiles { certificate: at("none.pem"), key: a.key.clone() };
    assert!(server(vec![absent], None).starts_with("cannot read "));

    std::fs::write(at("broken.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").unwrap();
    let broken = PairFiles { certificate: at("broken.pem"), key: a.key.clone() };
    assert!(server(vec![broken], None).contains("broken.pem is not PEM"));

    std::fs::write(at("odd.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(server(vec![a.clone()], Some(at("odd.pem"))).contains("cannot be a root"));

    let files = ClientFiles { ca: Some(a.certificate.clone()), pair: Some(b) };
    assert_eq!(files.load().unwrap().alpn_protocols, [HTTP_1_1]);
    assert!(ClientFiles { ca: Some(at("none.pem")), pair: None }.load().is_err());
}
