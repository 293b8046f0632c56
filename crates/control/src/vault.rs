//! Secrets at rest and sealed session tokens: AES-256-GCM under one key file of the installation.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Name of the key file inside the data directory; mode 0600.
const KEY_FILE: &str = "secret.key";
const KEY_BYTES: usize = 32;

/// Seals and opens for named purposes; what is sealed for one purpose does not open for another.
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// Reads the key file of a data directory, making it on first use.
    ///
    /// # Errors
    /// When the file cannot be read or made, or has not exactly 32 bytes. A missing key beside existing data cannot be
    /// told from a first start here; records sealed before then fail to open, loudly.
    pub fn open(data_dir: &Path) -> std::io::Result<Self> {
        let path = data_dir.join(KEY_FILE);
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        match fs::File::open(&path) {
            Ok(mut file) => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
                (&mut file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
                if bytes.len() != KEY_BYTES {
                    return Err(std::io::Error::other(format!(
                        "{} is damaged: it must hold exactly {KEY_BYTES} bytes. Restore it from a backup; without it stored access keys cannot be read.",
                        path.display()
                    )));
                }
                key.copy_from_slice(&bytes);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                random(&mut *key);
                // Written aside and linked into place, so that a crash leaves no half key and of two first users one wins.
                let fresh = data_dir.join(format!("{KEY_FILE}.{}", std::process::id()));
                let _ = fs::remove_file(&fresh);
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
                file.write_all(&*key)?;
                file.sync_all()?;
                let linked = fs::hard_link(&fresh, &path);
                fs::remove_file(&fresh)?;
                match linked {
                    Ok(()) => fs::File::open(data_dir)?.sync_all()?,
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Self::open(data_dir),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        Self::from_key(&key)
    }

    fn from_key(key: &[u8; KEY_BYTES]) -> std::io::Result<Self> {
        let key =
            UnboundKey::new(&AES_256_GCM, key).map_err(|_| std::io::Error::other("AES-256-GCM refused the key"))?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Encrypts and authenticates `plain`, bound to `purpose`: nonce, ciphertext and tag.
    #[must_use]
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_LEN];
        random(&mut nonce);
        let mut body = plain.to_vec();
        // Sealing fails only for inputs beyond 64 GiB; an empty result then opens for nobody.
        if self
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut body)
            .is_err()
        {
            return Vec::new();
        }
        let mut sealed = nonce.to_vec();
        sealed.append(&mut body);
        sealed
    }

    /// Opens what [`Vault::seal`] made for the same purpose.
    #[must_use]
    pub fn open_sealed(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut body).ok()?;
        Some(plain.to_vec())
    }

    /// As [`Vault::seal`], as text safe in headers.
    #[must_use]
    pub fn seal_text(&self, purpose: &str, plain: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(purpose, plain))
    }

    /// As [`Vault::open_sealed`], from text.
    #[must_use]
    pub fn open_text(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        self.open_sealed(purpose, &URL_SAFE_NO_PAD.decode(sealed).ok()?)
    }
}

/// Fills `out` from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness: nothing safe can be done then.
pub fn random(out: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "without randomness no key, id or nonce can be made; stopping is the safe answer"
    )]
    rand::fill(out).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::Vault;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only_and_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let sealed = vault.seal_text("session", b"secret");
        assert_eq!(vault.open_text("session", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(vault.open_text("record", &sealed), None);
        let again = Vault::open(dir.path()).unwrap();
        assert_eq!(again.open_text("session", &sealed).as_deref(), Some(&b"secret"[..]));
        let other = Vault::open(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(other.open_text("session", &sealed), None);
    }

    #[test]
    fn any_changed_byte_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let sealed = vault.seal("p", b"secret");
        for index in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[index] ^= 1;
            assert_eq!(vault.open_sealed("p", &bad), None, "byte {index}");
        }
    }

    #[test]
    fn a_damaged_key_file_is_an_error_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret.key"), b"short").unwrap();
        assert!(Vault::open(dir.path()).is_err());
        assert_eq!(std::fs::read(dir.path().join("secret.key")).unwrap(), b"short");
    }
}
