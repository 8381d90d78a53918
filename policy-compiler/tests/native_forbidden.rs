//! Where the system forbids new executable pages (systemd's `MemoryDenyWriteExecute`), the interpreter judges and says why. A test
//! binary of its own, since the prohibition holds for the whole process and cannot be taken back.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::{Engine, compile};
use policy_lang::{Condition, Effect, Facts, Program, Rule, Verdict};
use std::sync::Arc;

#[test]
fn without_executable_pages_the_interpreter_judges() {
    // SAFETY: prctl with these arguments reads no memory of ours; it only forbids this process to make pages executable later.
    let forbidden = unsafe { libc::prctl(libc::PR_SET_MDWE, libc::PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) };
    if forbidden != 0 {
        eprintln!("this kernel cannot forbid executable pages (before 6.3): nothing to test");
        return;
    }
    let policy = compile(Arc::new(program()));
    let Engine::Interpreter { reason } = policy.engine() else {
        panic!("native code in spite of the prohibition");
    };
    assert!(reason.contains("executable"), "{reason}");
    assert!(reason.contains("denied"), "{reason}");
    assert_eq!(policy.decide(&facts()).verdict, Verdict::Forward);
}

fn program() -> Program {
    Program {
        name: "forbidden".to_owned(),
        version: 1,
        digest: "00".to_owned(),
        rules: vec![Rule {
            name: "all.pass".to_owned(),
            shadow: false,
            condition: Condition::Const(true),
            effects: vec![Effect::Allow],
            ..Rule::default()
        }],
        atoms: Vec::new(),
        ..Program::default()
    }
}

fn facts() -> Facts<'static> {
    Facts::empty()
}
