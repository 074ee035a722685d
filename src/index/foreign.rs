//! Secrets that other systems have made. Their texts do not contain the id of a key, so they are found by their digest.
//!
//! A presented text is hashed once by each fast method that the store has, and the first eight bytes of a digest lead to a
//! key. The complete digest is compared afterwards (`ops::verify`). A slow digest is found by the start of its secret. A
//! store without such secrets pays nothing: one flag is read, and only for a text that is no secret of this server.

use super::IdHasher;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::HmacKeys;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::pepper::{Digest, Peppers};
use crate::domain::keys::scheme::{GivenDigest, Method, Scheme, starts};
use crate::domain::locks::{read, write};
use arc_swap::{ArcSwap, Guard};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// The longest text that is looked up, in bytes. Other systems make shorter secrets.
pub const TEXT_BYTES_MAX: usize = 512;

/// A secret of a key, as the look-up needs it.
pub struct ForeignSecret {
    pub secret: StoredSecret,
    /// The digest as it was given; `None` once it is one under the pepper.
    pub given: Option<Box<GivenDigest>>,
}

/// A method with all that it needs to hash a text.
pub struct ReadyMethod {
    scheme: Scheme,
    /// The version of the pepper; 0 for other schemes.
    pepper: u16,
    /// For an HMAC under the key of another system.
    hmac_key: Option<Vec<u8>>,
    method: Method,
}

/// The number of shards of the digests, so that threads rarely need the same lock.
const SHARDS: usize = 16;

/// A part of the digests. It has cache lines of its own, so that threads which use different parts do not slow each other
/// down.
#[derive(Default)]
#[repr(align(128))]
struct Shard(RwLock<HashMap<u64, KeyId, BuildHasherDefault<IdHasher>>>);

/// All such secrets of live keys.
#[derive(Default)]
pub struct ForeignSecrets {
    any: AtomicBool,
    any_slow: AtomicBool,
    any_doubles: AtomicBool,
    /// Counts the beginnings and the ends of changes, so that a look-up that one of them has crossed can be repeated.
    changes: AtomicU64,
    /// The methods of all secrets that are here; the newest pepper first, because most secrets are soon under it.
    methods: ArcSwap<Vec<ReadyMethod>>,
    /// Keys by the first eight bytes of a digest.
    shards: [Shard; SHARDS],
    tables: RwLock<Tables>,
}

/// What changes with the keys, and what is rarely read.
#[derive(Default)]
struct Tables {
    /// The methods in use, and the number of secrets of each.
    methods: BTreeMap<Method, usize>,
    /// Methods that the store has while its keys are not in the index yet.
    expected: Vec<Method>,
    /// From [`ForeignSecrets::expect`] to [`ForeignSecrets::settle`].
    is_filling: bool,
    /// Further keys with the same first eight bytes; nearly always empty.
    doubles: Vec<(u64, KeyId)>,
    /// Slow digests, by the start of the secret.
    by_start: HashMap<Box<str>, Vec<(KeyId, Arc<GivenDigest>)>>,
    /// What each key has here, so that it can be removed.
    entries: HashMap<KeyId, Vec<Entry>, BuildHasherDefault<IdHasher>>,
    hmac_keys: Arc<HmacKeys>,
}

enum Entry {
    Digest(Method, u64),
    Start(Box<str>),
}

/// The method by which a stored secret is found; `None` for a slow scheme.
fn method_of(secret: &ForeignSecret) -> Option<Method> {
    let given = secret.given.as_ref();
    let hmac_key = given.and_then(|given| given.hmac_key.as_deref());
    (!secret.secret.scheme.is_slow()).then(|| Method {
        scheme: secret.secret.scheme,
        pepper: secret.secret.pepper,
        hmac_key: hmac_key.map(Into::into),
    })
}

impl ReadyMethod {
    /// `None` if the HMAC key is missing.
    fn of(method: &Method, hmac_keys: &HmacKeys) -> Option<ReadyMethod> {
        let hmac_key = match &method.hmac_key {
            None => None,
            Some(name) => Some(hmac_keys.find(name)?.to_vec()),
        };
        Some(ReadyMethod {
            scheme: method.scheme,
            pepper: method.pepper,
            hmac_key,
            method: method.clone(),
        })
    }

    /// How the store names the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The digest of a text; `None` if the version of the pepper is gone.
    pub fn digest(&self, peppers: &Peppers, text: &str) -> Option<Digest> {
        if self.scheme == Scheme::Pepper {
            return peppers.digest_with(u32::from(self.pepper), text);
        }
        let bytes = match &self.hmac_key {
            None => self.scheme.digest(text)?,
            Some(key) => self.scheme.hmac(key, text)?,
        };
        bytes.first_chunk::<32>().copied().map(Digest)
    }

    /// Whether a stored secret has a digest of this method.
    pub fn makes(&self, secret: &StoredSecret) -> bool {
        (self.scheme, self.pepper) == (secret.scheme, secret.pepper)
    }
}

impl ForeignSecrets {
    /// Replaces what a key has here.
    pub fn put(&self, id: KeyId, secrets: Vec<ForeignSecret>) {
        if secrets.is_empty() && !self.has_any() {
            return;
        }
        let mut tables = write(&self.tables);
        self.changes.fetch_add(1, Ordering::SeqCst);
        let before: Vec<Method> = tables.methods.keys().cloned().collect();
        // The new digests come first, so that a key whose digest is replaced is found at any moment.
        let old = tables.entries.remove(&id).unwrap_or_default();
        for secret in secrets {
            self.add(&mut tables, id, secret);
        }
        self.remove(&mut tables, id, old);
        self.publish(&tables, &before);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Replaces what all keys have here. A key that is not named has nothing.
    pub fn replace_all(&self, all: Vec<(KeyId, Vec<ForeignSecret>)>) {
        let mut gone: HashSet<KeyId> = read(&self.tables).entries.keys().copied().collect();
        for (id, secrets) in all {
            gone.remove(&id);
            self.put(id, secrets);
        }
        gone.into_iter().for_each(|id| self.put(id, Vec::new()));
    }

    /// Adds methods that the store has, before its keys are in the index.
    pub fn expect(&self, methods: Vec<Method>, has_slow: bool) {
        let mut tables = write(&self.tables);
        for method in &methods {
            *tables.methods.entry(method.clone()).or_default() += 1;
        }
        tables.is_filling = has_slow || !methods.is_empty();
        tables.expected = methods;
        self.publish(&tables, &[]);
    }

    /// Ends what [`ForeignSecrets::expect`] began: all keys are in the index.
    pub fn settle(&self) {
        let mut tables = write(&self.tables);
        let before: Vec<Method> = tables.methods.keys().cloned().collect();
        tables.is_filling = false;
        for method in std::mem::take(&mut tables.expected) {
            tables.release(&method);
        }
        self.publish(&tables, &before);
    }

    pub fn set_hmac_keys(&self, keys: Arc<HmacKeys>) {
        let mut tables = write(&self.tables);
        tables.hmac_keys = keys;
        self.publish(&tables, &[]);
    }

    /// Whether there is a file with this HMAC key.
    pub fn has_hmac_key(&self, name: &str) -> bool {
        read(&self.tables).hmac_keys.find(name).is_some()
    }

    /// Whether the store may have such secrets.
    pub fn has_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// A number for [`ForeignSecrets::is_crossed`], from before a look-up.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Whether a change has crossed the look-up that began at `changes`: it may have hashed by the methods from before the
    /// change, and looked among the digests from after it. This waits for the end of the change.
    pub fn is_crossed(&self, changes: u64) -> bool {
        let is_crossed = changes % 2 == 1 || self.changes() != changes;
        if is_crossed {
            drop(read(&self.tables));
        }
        is_crossed
    }

    /// The methods by which a text can be looked up, the likeliest first.
    pub fn methods(&self) -> Guard<Arc<Vec<ReadyMethod>>> {
        self.methods.load()
    }

    /// The keys that may have a secret with this digest: nearly always one at most.
    pub fn candidates(&self, digest: &Digest) -> impl Iterator<Item = KeyId> + use<> {
        let short = short(digest);
        let first = read(self.shard(short)).get(&short).copied();
        let more = match self.any_doubles.load(Ordering::Acquire) {
            false => Vec::new(),
            true => {
                let tables = read(&self.tables);
                let doubles = tables.doubles.iter();
                let alike = doubles.filter(|(other, _)| *other == short);
                alike.map(|(_, id)| *id).collect()
            }
        };
        first.into_iter().chain(more)
    }

    /// The slow digests whose start a text has.
    pub fn slow_candidates(&self, text: &str) -> Vec<(KeyId, Arc<GivenDigest>)> {
        if !self.any_slow.load(Ordering::Acquire) {
            return Vec::new();
        }
        let tables = read(&self.tables);
        let found = starts(text).filter_map(|start| tables.by_start.get(start));
        found.flatten().cloned().collect()
    }

    /// Lets verifications see what has changed. The methods are replaced only if there are others than `before`.
    fn publish(&self, tables: &Tables, before: &[Method]) {
        if !tables.methods.keys().eq(before) || before.is_empty() {
            let ready = |method| ReadyMethod::of(method, &tables.hmac_keys);
            let mut methods: Vec<ReadyMethod> = tables.methods.keys().filter_map(ready).collect();
            methods.sort_by_key(|method| (method.scheme, std::cmp::Reverse(method.pepper)));
            self.methods.store(Arc::new(methods));
        }
        let any_slow = tables.is_filling || !tables.by_start.is_empty();
        let any = any_slow || !tables.methods.is_empty();
        self.any_doubles
            .store(!tables.doubles.is_empty(), Ordering::Release);
        self.any_slow.store(any_slow, Ordering::Release);
        self.any.store(any, Ordering::Release);
    }

    fn shard(&self, short: u64) -> &RwLock<HashMap<u64, KeyId, BuildHasherDefault<IdHasher>>> {
        &self.shards[(short % SHARDS as u64) as usize].0
    }

    fn add(&self, tables: &mut Tables, id: KeyId, secret: ForeignSecret) {
        let entry = match (method_of(&secret), secret.given) {
            (Some(method), _) => {
                *tables.methods.entry(method.clone()).or_default() += 1;
                let short = short(&secret.secret.digest);
                let other = write(self.shard(short)).insert(short, id);
                if let Some(other) = other.filter(|other| *other != id) {
                    tables.doubles.push((short, other));
                }
                Entry::Digest(method, short)
            }
            (None, Some(given)) => {
                let start: Box<str> = given.found_by.as_deref().unwrap_or_default().into();
                let slow = (id, Arc::new(*given));
                tables.by_start.entry(start.clone()).or_default().push(slow);
                Entry::Start(start)
            }
            // A slow digest has always been given.
            (None, None) => return,
        };
        tables.entries.entry(id).or_default().push(entry);
    }

    /// Removes former entries of a key, except for digests that it has again.
    fn remove(&self, tables: &mut Tables, id: KeyId, old: Vec<Entry>) {
        for entry in old {
            match entry {
                Entry::Digest(method, short) => {
                    tables.release(&method);
                    let has_again =
                        |entry: &Entry| matches!(entry, Entry::Digest(_, other) if *other == short);
                    let kept = tables.entries.get(&id);
                    if !kept.is_some_and(|kept| kept.iter().any(has_again)) {
                        self.remove_digest(tables, short, id);
                    }
                }
                Entry::Start(start) => {
                    let kept = tables.entries.get(&id);
                    let has_again =
                        |entry: &Entry| matches!(entry, Entry::Start(other) if *other == start);
                    let again =
                        kept.map_or(0, |kept| kept.iter().filter(|it| has_again(it)).count());
                    if let Some(slow) = tables.by_start.get_mut(&start) {
                        // The former ones are before those that were added now.
                        let all = slow.iter().filter(|(other, _)| *other == id).count();
                        let mut former = all - again;
                        slow.retain(|(other, _)| {
                            let goes = *other == id && former > 0;
                            former -= usize::from(goes);
                            !goes
                        });
                        if slow.is_empty() {
                            tables.by_start.remove(&start);
                        }
                    }
                }
            }
        }
    }

    fn remove_digest(&self, tables: &mut Tables, short: u64, id: KeyId) {
        tables.doubles.retain(|double| *double != (short, id));
        let mut shard = write(self.shard(short));
        if shard.get(&short) != Some(&id) {
            return;
        }
        shard.remove(&short);
        let double = tables.doubles.iter().position(|(other, _)| *other == short);
        if let Some(position) = double {
            let (_, other) = tables.doubles.swap_remove(position);
            shard.insert(short, other);
        }
    }
}

impl Tables {
    fn release(&mut self, method: &Method) {
        if let Some(count) = self.methods.get_mut(method) {
            *count -= 1;
            if *count == 0 {
                self.methods.remove(method);
            }
        }
    }
}

fn short(digest: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str, found_by: Option<&str>) -> ForeignSecret {
        let given = GivenDigest::parse(text, found_by).unwrap();
        ForeignSecret {
            secret: StoredSecret::given(&given, true),
            given: Some(Box::new(given)),
        }
    }

    fn found(foreign: &ForeignSecrets, peppers: &Peppers, text: &str) -> Vec<KeyId> {
        let methods = foreign.methods();
        let digests = methods.iter().filter_map(|it| it.digest(peppers, text));
        digests
            .flat_map(|digest| foreign.candidates(&digest))
            .collect()
    }

    fn sha256(text: &str) -> ForeignSecret {
        let bytes = Scheme::Sha256.digest(text).unwrap();
        let hex = crate::domain::hex::hex(&bytes);
        given(&format!("sha256:{hex}"), None)
    }

    #[test]
    fn a_text_is_found_by_each_method_until_its_key_is_removed() {
        let (peppers, _) = Peppers::generate().unwrap();
        let foreign = ForeignSecrets::default();
        let found = |text: &str| found(&foreign, &peppers, text);
        assert!(!foreign.has_any());
        assert!(found("one").is_empty());
        foreign.put(KeyId(1), vec![sha256("one")]);
        foreign.put(KeyId(2), vec![sha256("two"), sha256("before")]);
        assert!(foreign.has_any());
        assert_eq!(found("one"), [KeyId(1)]);
        assert_eq!(found("two"), [KeyId(2)]);
        assert_eq!(found("before"), [KeyId(2)]);
        assert!(found("three").is_empty());

        let upgraded = ForeignSecret {
            secret: StoredSecret::under_newest(&peppers, "one", true),
            given: None,
        };
        foreign.put(KeyId(1), vec![upgraded]);
        assert_eq!(found("one"), [KeyId(1)]);
        assert_eq!(foreign.methods().len(), 2);
        foreign.put(KeyId(2), Vec::new());
        assert!(found("two").is_empty());
        assert_eq!(foreign.methods().len(), 1);
        foreign.put(KeyId(1), Vec::new());
        assert!(!foreign.has_any());
    }

    #[test]
    fn keys_with_the_same_start_of_a_digest_are_all_found() {
        let (peppers, _) = Peppers::generate().unwrap();
        let foreign = ForeignSecrets::default();
        for id in 1..=3 {
            foreign.put(KeyId(id), vec![sha256("same")]);
        }
        let found = || {
            let mut found = found(&foreign, &peppers, "same");
            found.sort_unstable();
            found
        };
        assert_eq!(found(), [KeyId(1), KeyId(2), KeyId(3)]);
        foreign.put(KeyId(3), Vec::new());
        assert_eq!(found(), [KeyId(1), KeyId(2)]);
        foreign.put(KeyId(1), Vec::new());
        assert_eq!(found(), [KeyId(2)]);
    }

    #[test]
    fn a_slow_digest_is_found_by_the_start_of_its_secret_alone() {
        let foreign = ForeignSecrets::default();
        let bcrypt = bcrypt_of("secret");
        foreign.put(KeyId(1), vec![given(&bcrypt, Some("alice:"))]);
        let found = |text: &str| foreign.slow_candidates(text).len();
        assert_eq!(found("alice:secret"), 1);
        assert_eq!(found("alice:wrong:secret"), 1);
        for text in ["alice", "alice.secret", "bob:secret", "", "xalice:secret"] {
            assert_eq!(found(text), 0, "{text}");
        }
        foreign.put(KeyId(1), Vec::new());
        assert_eq!(found("alice:secret"), 0);
    }

    /// A text with the form of a bcrypt digest.
    fn bcrypt_of(_: &str) -> String {
        format!("$2b$04${}", "a".repeat(53))
    }

    /// A look-up that an upgrade crosses is repeated, so a good secret is never reported as unknown.
    #[test]
    fn a_key_whose_digest_is_replaced_is_found_at_any_moment() {
        let (peppers, _) = Peppers::generate().unwrap();
        let foreign = ForeignSecrets::default();
        let upgraded = || ForeignSecret {
            secret: StoredSecret::under_newest(&peppers, "one", true),
            given: None,
        };
        foreign.put(KeyId(1), vec![sha256("one")]);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    foreign.put(KeyId(1), vec![upgraded()]);
                    foreign.put(KeyId(1), vec![sha256("one")]);
                }
                ended.store(true, Ordering::Relaxed);
            });
            while !ended.load(Ordering::Relaxed) {
                let changes = foreign.changes();
                let is_found = found(&foreign, &peppers, "one") == [KeyId(1)];
                assert!(is_found || foreign.is_crossed(changes));
            }
        });
    }

    #[test]
    fn a_missing_hmac_key_finds_nothing() {
        let (peppers, _) = Peppers::generate().unwrap();
        let foreign = ForeignSecrets::default();
        let text = "what do ya want for nothing?";
        let hmac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let secret = given(&format!("hmac-sha256:old:{hmac}"), None);
        foreign.put(KeyId(1), vec![secret]);
        let found = || found(&foreign, &peppers, text);
        assert!(found().is_empty());
        let keys = HmacKeys::of([("old".to_owned(), b"Jefe".to_vec())]);
        foreign.set_hmac_keys(Arc::new(keys));
        assert_eq!(found(), [KeyId(1)]);
    }
}
