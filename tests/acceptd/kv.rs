//! Tests of the key-value store in both of its dialects.
//!
//! A test for every engine is a function that takes an engine, and is named in a list at the top of its file. The
//! compiler warns about a function that is missing in the list, because it is never called.

mod expiry;
mod files;
mod requests;
mod resp;
mod settings;
mod sharing;
mod telnet;
mod text;
mod transactions;

use std::fmt::Write;

/// Quotes a value as the text dialect does.
fn quoted(value: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &byte in value {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', byte as char]),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            b' '..=b'~' => quoted.push(byte as char),
            _ => write!(quoted, "\\x{byte:02x}").unwrap(),
        }
    }
    quoted + "\""
}

/// The value that a line of the text dialect stands for.
fn unquoted(line: &str) -> Vec<u8> {
    let Some(inner) = line.strip_prefix('"') else { return line.as_bytes().to_vec() };
    let inner = inner.strip_suffix('"').expect("the closing quote is missing");
    let (mut value, mut rest) = (Vec::new(), inner.bytes());
    while let Some(byte) = rest.next() {
        assert_ne!(byte, b'"', "an unescaped quote: {line}");
        value.push(if byte != b'\\' {
            byte
        } else {
            match rest.next().expect("nothing follows the backslash") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                literal @ (b'"' | b'\\') => literal,
                other => panic!("{:?} is not an escape: {line}", other as char),
            }
        });
    }
    value
}
