use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use bech32::{Bech32, Bech32m, Checksum, Fe32, Hrp};
use flate2::read::ZlibDecoder;
use sha2::{Digest, Sha256};

use super::*;

/// A file with a private key, and its public key in a comment.
const KEY_FILE: &str = include_str!("../../../fixtures/backup-key.txt");

fn encrypted(text: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut out = Encrypting::new(Vec::new(), recipients, &["cxnpoll-test", "7"]).unwrap();
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

/// What can be read of a file, and the error after it.
fn read(file: &[u8], identities: &Identities) -> (Vec<u8>, Option<String>) {
    let mut text = Vec::new();
    let error = match decrypt(file, identities) {
        Ok(mut reader) => reader.read_to_end(&mut text).err().map(|error| error.kind().to_string()),
        Err(error) => Some(format!("{error:?}")),
    };
    (text, error)
}

fn decrypted(file: &[u8], identities: &Identities) -> Result<Vec<u8>, String> {
    let (text, error) = read(file, identities);
    error.map_or(Ok(text), Err)
}

#[test]
fn any_of_the_recipients_decrypts_and_no_other_key_does() {
    let [(first, first_key), (second, second_key), (other, _)] = [(); 3].map(|()| Identities::generate().unwrap());
    let text = vec![b'x'; 200_000];
    let file = encrypted(&text, &[first_key, second_key]);
    assert_eq!(decrypted(&file, &first).as_deref(), Ok(&text[..]));
    assert_eq!(decrypted(&file, &second).as_deref(), Ok(&text[..]));
    assert_eq!(decrypted(&file, &other), Err("OtherKey".to_owned()));
    assert_eq!(decrypted(&file, &Identities::default()), Err("OtherKey".to_owned()));
    assert_eq!((note(&file, "cxnpoll-test"), note(&file, "X25519 ").is_some()), (Some("7"), true));
    assert_eq!(note(&file, "cxnpoll-other"), None);
    assert_eq!(encrypted(b"text", &[]), b"text");
}

#[test]
fn a_small_file_is_refused_wherever_a_bit_is_changed_or_it_is_cut() {
    let (key, recipient) = Identities::generate().unwrap();
    let file = encrypted(b"text", &[recipient]);
    assert_eq!(decrypted(&file, &key).as_deref(), Ok(&b"text"[..]));
    for at in 0..file.len() {
        assert_eq!(read(&file[..at], &key).0, b"", "cut at {at}");
        assert!(decrypted(&file[..at], &key).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            assert!(decrypted(&changed, &key).is_err(), "bit {bit} of byte {at} is changed");
        }
    }
    assert!(decrypted(&[&file[..], b"x"].concat(), &key).is_err());
}

#[test]
fn content_of_any_length_is_read_back_and_refused_when_it_is_cut() {
    const CHUNK_BYTES: usize = 65_536;
    let (key, recipient) = Identities::generate().unwrap();
    let header = encrypted(b"", std::slice::from_ref(&recipient)).len() - 16;
    for (length, chunks) in
        [(0, 1), (1, 1), (CHUNK_BYTES - 1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (2 * CHUNK_BYTES, 2)]
    {
        let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let file = encrypted(&text, std::slice::from_ref(&recipient));
        assert_eq!(file.len(), header + length + 16 * chunks);
        assert_eq!(decrypted(&file, &key).as_deref(), Ok(&text[..]), "{length} bytes");
        for cut in [header, header + 15, header + 16, header + CHUNK_BYTES, header + CHUNK_BYTES + 16, file.len() - 1] {
            assert!(cut >= file.len() || decrypted(&file[..cut], &key).is_err(), "{length} bytes, cut at {cut}");
        }
        assert!(decrypted(&[&file[..], b"x"].concat(), &key).is_err(), "{length} bytes and one more");
    }
}

#[test]
fn nothing_is_read_after_a_changed_chunk() {
    let (key, recipient) = Identities::generate().unwrap();
    let text = vec![b'x'; 200_000];
    let mut file = encrypted(&text, &[recipient]);
    let second = file.len() - 100_000;
    file[second] ^= 1;
    let mut reader = decrypt(&file[..], &key).unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        assert_eq!(reader.read_to_end(&mut got).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(got, text[..65_536]);
    }
}

#[test]
fn one_key_makes_no_two_files_alike() {
    let (_, recipient) = Identities::generate().unwrap();
    let [first, second] = [(); 2].map(|()| encrypted(b"text", std::slice::from_ref(&recipient)));
    let end = |file: &[u8]| file[file.len() - 20..].to_vec();
    assert!(first != second && end(&first) != end(&second));
}

#[test]
fn keys_are_read_and_never_shown() {
    let private = KEY_FILE.lines().last().unwrap();
    let public = KEY_FILE.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let recipient: Recipient = public.parse().unwrap();
    assert_eq!(recipient.to_string(), public);
    assert_eq!(private.parse::<Recipient>(), Err(InvalidRecipient::PrivateKey));
    assert_eq!(private.to_lowercase().parse::<Recipient>(), Err(InvalidRecipient::PrivateKey));
    for other in ["", "age1", "ssh-ed25519 AAAA", "age1yubikey1qqqq", &public[1..]] {
        assert_eq!(other.parse::<Recipient>(), Err(InvalidRecipient::Other), "{other}");
    }
    let read = Identities::parse(format!("# created: today\r\n\r\n {private}\r\n").as_bytes()).unwrap();
    assert_eq!(format!("{read:?}"), "Identities(1)");
    assert_eq!(decrypted(&encrypted(b"text", &[recipient]), &read).as_deref(), Ok(&b"text"[..]));
    assert_eq!(Identities::parse(b"# nothing\n").unwrap_err(), InvalidIdentities::Empty);
    assert_eq!(Identities::parse(MAGIC).unwrap_err(), InvalidIdentities::Encrypted);
    let public = format!("# key\n{public}\n");
    assert_eq!(Identities::parse(public.as_bytes()).unwrap_err(), InvalidIdentities::Line(2));
    assert_eq!(Identities::parse(b"\xff\n").unwrap_err(), InvalidIdentities::Line(1));
}

/// Text in Bech32 with a checksum. `last` is added to the last five bits.
fn bech32<C: Checksum>(prefix: &str, bytes: &[u8], last: u8) -> String {
    let mut groups: Vec<Fe32> = bytes.iter().copied().bytes_to_fes().collect();
    let end = groups.pop().unwrap();
    groups.push(Fe32::try_from(end.to_u8() + last).unwrap());
    groups.into_iter().with_checksum::<C>(&Hrp::parse(prefix).unwrap()).chars().collect()
}

#[test]
fn text_of_a_key_is_parsed_strictly() {
    let mut base = [0; 32];
    base[0] = 9;
    let valid = bech32::<Bech32>("age", &base, 0);
    assert!(valid.parse::<Recipient>().is_ok() && valid.to_uppercase().parse::<Recipient>().is_ok());
    for (problem, text) in [
        ("another checksum", bech32::<Bech32m>("age", &base, 0)),
        ("unused bits", bech32::<Bech32>("age", &base, 1)),
        ("too short", bech32::<Bech32>("age", &base[..31], 0)),
        ("too long", bech32::<Bech32>("age", &[9; 33], 0)),
        ("another prefix", bech32::<Bech32>("edge", &base, 0)),
        ("both cases", valid.replace("age", "AGE")),
        ("a blank", format!("{valid} ")),
        ("low order", bech32::<Bech32>("age", &[0; 32], 0)),
        ("low order, too", bech32::<Bech32>("age", &[&[1][..], &[0; 31]].concat(), 0)),
    ] {
        assert_eq!(text.parse::<Recipient>(), Err(InvalidRecipient::Other), "{problem}: {text}");
    }
    let identity = |last| Identities::parse(bech32::<Bech32>("age-secret-key-", &base, last).as_bytes());
    assert!(identity(0).is_ok());
    assert_eq!(identity(1).unwrap_err(), InvalidIdentities::Line(1));
}

/// The outcome that a vector expects: of the function that decrypts, or of its reader.
fn expected(name: &str, outcome: &str) -> Option<String> {
    let error = match (name, outcome) {
        ("scrypt", _) => "Passphrase",
        ("x25519_lowercase", _) => "OtherKind",
        (_, "header failure" | "HMAC failure") => "Damaged",
        (_, "no match") => "OtherKey",
        (_, "payload failure") => "invalid data",
        (_, "success") => return None,
        _ => panic!("{name} expects {outcome}"),
    };
    Some(error.to_owned())
}

/// The vectors are described in `fixtures/age/README.md`.
#[test]
fn vectors_of_the_format_have_the_expected_outcome() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/age");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<_> = paths.filter(|path| path.extension().unwrap() == "vector").collect();
    assert_eq!(paths.len(), 69);
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let vector = fs::read(&path).unwrap();
        let blank = vector.windows(2).position(|bytes| bytes == b"\n\n").unwrap();
        let about = str::from_utf8(&vector[..blank]).unwrap();
        let about: HashMap<&str, &str> = about.lines().map(|line| line.split_once(": ").unwrap()).collect();
        let mut file = vector[blank + 2..].to_vec();
        if about.contains_key("compressed") {
            file.clear();
            ZlibDecoder::new(&vector[blank + 2..]).read_to_end(&mut file).unwrap();
        }
        let identities = about.get("identity").map(|key| Identities::parse(key.as_bytes()).unwrap());
        let (text, error) = read(&file, &identities.unwrap_or_default());
        assert_eq!(error, expected(name, about["expect"]), "{name}");
        if error.is_none() {
            assert_eq!(hex::encode(Sha256::digest(&text)), about["payload"], "{name}");
        }
        assert!(error.is_none() || text.len().is_multiple_of(65_536), "{name} gives a part of a chunk");
    }
}
