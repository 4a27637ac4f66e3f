//! Backups that are encrypted to a recipient with age.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::testkit::library::{BACKUP_KEY, BACKUP_RECIPIENT, backup_text};
use crate::testkit::tools::require;
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, stderr};

/// A public key whose private key is not known here.
const OTHER_RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
/// The start of the private key of the tests, which no output may show.
const PRIVATE: &str = "AGE-SECRET-KEY-1";

/// A world whose backups are encrypted.
fn world<const N: usize>(behaviours: [&str; N]) -> World {
    let world = World::with(behaviours);
    world.append_config(&format!("[backups]\nkeep = 2\nrecipients = [\"{BACKUP_RECIPIENT}\"]\n"));
    world
}

fn written(backup: &Value) -> PathBuf {
    backup["path"].as_str().unwrap().into()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The backups of a store, sorted.
fn backups(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.store().join("backups")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.contains(".jsonl.gz"));
    names.sort();
    names
}

#[test]
fn run_encrypts_its_backup_and_only_the_private_key_restores_it() {
    let world = world(["ok"; 3]);
    world.append_config("verify = true\n");
    assert_quiet(&world.run(&["poll", APP]));
    assert_quiet(&world.run(&["poll", APP]));
    let [name] = backups(&world).try_into().unwrap();
    assert!(name.ends_with("Z.jsonl.gz.age"), "{name}");
    let path = world.store().join("backups").join(&name);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let record = fs::read_to_string(world.store().join("backups/checked.json")).unwrap();
    assert!(record.contains(&name), "it was checked without the private key: {record}");
    let before = world.export();
    assert_quiet(&world.run(&["remove", "--all", "--yes"]));
    let elsewhere = World::new();
    for command in [&["store", "restore", text(&path)][..], &["store", "restore", "--check", text(&path)]] {
        let message = elsewhere.refused(2, command);
        assert!(
            message.starts_with(&format!("error: {} is encrypted\nhint: name the file", path.display())),
            "{message}"
        );
    }
    assert!(world.refused(2, &["store", "restore"]).contains("is encrypted\n"));
    assert_quiet(&world.run(&["store", "restore", "--check", "--identity", BACKUP_KEY]));
    assert_quiet(&world.run(&["store", "restore", "--identity", BACKUP_KEY]));
    assert_quiet(&elsewhere.run(&["store", "restore", text(&path), "--identity", BACKUP_KEY]));
    assert_eq!((world.export(), elsewhere.export()), (before.clone(), before));
    // The key may come through a pipe.
    let key = fs::read_to_string(BACKUP_KEY).unwrap();
    let piped = elsewhere.run_with_input(&["store", "restore", text(&path), "--identity", "-", "--yes"], &key);
    assert_quiet(&piped);
}

#[test]
fn encrypted_and_plain_backups_are_rotated_together() {
    let world = world(["ok"]);
    let write = |more: &[&str]| written(&world.json(&[&["store", "backup", "--json"], more].concat()));
    let first = write(&[]);
    assert!(first.extension().unwrap() == "age" && backup_text(&first).is_some());
    world.set_config(&world.config().replace("recipients =", "# recipients ="));
    let second = write(&[]);
    assert!(second.extension().unwrap() == "gz" && first.exists());
    let third = write(&["--recipient", OTHER_RECIPIENT, "--recipient", BACKUP_RECIPIENT]);
    assert!(backup_text(&third).is_some() && second.exists() && !first.exists());
    // The newest by its number is the newest, whatever the time in its name.
    let old = third.with_file_name("20200101T000000Z.jsonl.gz.age");
    fs::rename(&third, &old).unwrap();
    let checked = world.json(&["store", "restore", "--check", "--identity", BACKUP_KEY, "--json"]);
    assert_eq!(written(&checked), old);
    let future = old.with_file_name("29990101T000000Z.jsonl.gz.age");
    fs::rename(&old, &future).unwrap();
    let output = world.run(&["store", "backup"]);
    assert!(stderr(&output).contains("is from the future"), "{output:?}");
}

#[test]
fn compaction_needs_no_private_key() {
    let world = world(["ok"; 5]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    let compacted = world.json(&["store", "compact", "--json"]);
    assert!(written(&compacted["backup"]).extension().unwrap() == "age", "{compacted}");
    assert_eq!(world.export(), before);
    world.assert_sound();
}

#[test]
fn damaged_encrypted_backup_replaces_nothing() {
    let world = world(["ok"; 300]);
    let older = written(&world.json(&["store", "backup", "--json"]));
    let path = written(&world.json(&["store", "backup", "--json"]));
    let whole = fs::read(&path).unwrap();
    let before = world.export();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    // The number in the header can be read by all, and is authentic.
    let mut header = whole.clone();
    let note = b"cxnpoll-backup ";
    header[whole.windows(note.len()).position(|bytes| bytes == note).unwrap() + note.len()] ^= 1;
    for bad in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &whole[..30], &whole[..9], b"", &changed, &header]
    {
        fs::write(&path, bad).unwrap();
        let restore = ["store", "restore", "--yes", "--identity", BACKUP_KEY];
        let message = world.refused(65, &restore);
        assert!(message.contains(" is not a complete backup: ") && message.lines().count() == 2, "{message}");
        assert!(message.ends_with(&format!("restore {} --identity KEY`\n", older.display())), "{message}");
        let message = world.refused(74, &["store", "restore", "--check", "--identity", BACKUP_KEY]);
        assert!(message.contains(" cannot be restored: "), "{message}");
        assert_eq!(world.export(), before);
    }
}

#[test]
fn wrong_keys_are_refused_and_never_shown() {
    let world = world(["ok"]);
    let key = fs::read_to_string(BACKUP_KEY).unwrap();
    let private = key.lines().last().unwrap();
    let path = written(&world.json(&["store", "backup", "--json", "--recipient", OTHER_RECIPIENT]));
    let refused = |exit: i32, arguments: &[&str], expected: &str| {
        let message = world.refused(exit, arguments);
        assert!(message.contains(expected) && !message.to_uppercase().contains(PRIVATE), "{message}");
    };
    let restore = |identity: &'static str| ["store", "restore", "--yes", "--identity", identity];
    refused(65, &restore(BACKUP_KEY), "is encrypted to another key\nhint: ");
    refused(66, &restore("missing.txt"), "cannot read missing.txt");
    let write = |text: &str| fs::write(world.path("key.txt"), text).unwrap();
    write(&format!("# a key\n{private}x\n"));
    refused(65, &restore("key.txt"), "key.txt, line 2: not a private key of age\nhint: ");
    write("# nothing\n");
    refused(65, &restore("key.txt"), "key.txt holds no private key");
    fs::copy(&path, world.path("key.txt")).unwrap();
    refused(65, &restore("key.txt"), "the private key key.txt is encrypted\nhint: decrypt it");
    // As a recipient, too.
    refused(2, &["store", "backup", "--recipient", "age1nokey"], "expected a public key of age");
    refused(2, &["store", "backup", "--recipient", private], "--recipient: this is a private key");
    for (written, expected) in [
        (format!("recipients = [\"{private}\"]"), "this is a private key"),
        (format!("recipients = [\n  {private}\n]"), "string values must be quoted"),
        (format!("recipients = \"{private}\""), "expected a sequence"),
        ("recipients-file = \"key.txt\"".to_owned(), "key.txt, line 1: this is a private key"),
        ("recipients-file = \"missing.txt\"".to_owned(), "missing.txt"),
        ("recipients-file = \"empty.txt\"".to_owned(), "empty.txt: holds no key"),
    ] {
        write(private);
        fs::write(world.path("empty.txt"), "# none\n").unwrap();
        let config = world.config();
        world.set_config(
            &config.replace("recipients =", "# recipients =").replace("keep = 2", &format!("keep = 2\n{written}")),
        );
        refused(78, &["config", "check"], expected);
        refused(78, &["store", "backup"], expected);
        world.set_config(&config);
    }
    let shown = world.text(&["config", "show"]);
    assert!(shown.contains(BACKUP_RECIPIENT) && !shown.contains(PRIVATE), "{shown}");
}

#[test]
fn encrypted_input_is_no_import() {
    let world = world(["ok"]);
    let path = written(&world.json(&["store", "backup", "--json"]));
    let message = world.refused(65, &["import", text(&path)]);
    assert!(
        message.contains("the input is encrypted with age") && message.contains("store restore FILE --identity"),
        "{message}"
    );
}

#[test]
fn what_only_age_decrypts_is_refused_with_its_command() {
    let world = world(["ok"]);
    let header = |stanza: &str| format!("age-encryption.org/v1\n-> {stanza}\nAAAA\n--- {}\n", "A".repeat(43));
    let with_key = "\nhint: decrypt it with `age --decrypt --identity KEY`, and restore the result\n";
    for (file, problem, hint) in [
        ("-----BEGIN AGE ENCRYPTED FILE-----\n".to_owned(), "is encrypted, and written as lines of text", with_key),
        (header("ssh-ed25519 AAAA AAAA"), "is encrypted to keys of another kind, such as those of SSH", with_key),
        (
            header("scrypt AAAA 18"),
            "is encrypted with a passphrase",
            "\nhint: decrypt it with `age --decrypt`, and restore the result\n",
        ),
    ] {
        fs::write(world.path("file"), file).unwrap();
        for option in ["--check", "--yes"] {
            let expected = format!("error: file {problem}{hint}");
            assert_eq!(world.refused(65, &["store", "restore", "file", option]), expected);
            assert_eq!(world.refused(65, &["store", "restore", "file", option, "--identity", BACKUP_KEY]), expected);
        }
        let message = world.refused(65, &["import", "file"]);
        assert!(message.contains("is encrypted with age\n") && message.contains("`age --decrypt`"), "{message}");
    }
}

/// Runs a tool with an input, and returns its output.
fn run(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn age_itself_reads_and_writes_these_files() {
    if !require("age") || !require("age-keygen") {
        return;
    }
    let world = World::with(["ok"; 200]);
    let mut keygen = Command::new("age-keygen");
    keygen.arg("-o").arg(world.path("key.txt"));
    run(keygen, b"");
    let mut public = Command::new("age-keygen");
    public.arg("-y").arg(world.path("key.txt"));
    let recipient = String::from_utf8(run(public, b"")).unwrap();
    let backup = world.json(&["store", "backup", "--verify", "--json", "--recipient", recipient.trim()]);
    let age = |arguments: &[&str]| {
        let mut age = Command::new("age");
        age.args(arguments).current_dir(world.path(""));
        age
    };
    let plain = run(age(&["--decrypt", "-i", "key.txt"]), &fs::read(written(&backup)).unwrap());
    let armored = run(age(&["--encrypt", "--armor", "-r", recipient.trim()]), &plain);
    assert!(armored.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
    assert!(run(age(&["--decrypt", "--identity", "key.txt"]), &armored) == plain);
    fs::write(world.path("plain.gz"), &plain).unwrap();
    assert_quiet(&world.run(&["store", "restore", "plain.gz", "--check"]));
    fs::write(world.path("by-age"), run(age(&["--encrypt", "-r", recipient.trim()]), &plain)).unwrap();
    assert_quiet(&world.run(&["store", "restore", "by-age", "--yes", "--identity", "key.txt"]));
    assert_eq!(world.export().len(), 200);
}
