//! BLS12-381 signatures with public keys in G1, as Ethereum and charon use them.
//!
//! Source: charon `tbls/herumi.go`; scheme: IETF draft-irtf-cfrg-bls-signature, proof-of-possession
//! suite, minimal public key size. Curve arithmetic is blst's.

use std::collections::HashMap;

use blst::min_pk;
use blst::{BLST_ERROR, MultiPoint, Pairing, blst_fp12, blst_p1_affine, blst_p2_affine};
use blstrs::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use ff::Field;
use group::Group;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// The domain separation tag of every Ethereum signature.
const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// Length of a compressed public key in bytes.
pub const PUBLIC_KEY_LEN: usize = 48;
/// Length of a compressed signature in bytes.
pub const SIGNATURE_LEN: usize = 96;
/// Length of a secret scalar in bytes, big-endian.
pub const SECRET_LEN: usize = 32;

/// Why bytes are not a usable curve point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// The length is neither that of a compressed key nor of a compressed signature.
    #[error("{seen} bytes instead of {expected}")]
    Length {
        /// Bytes given.
        seen: usize,
        /// Bytes of the compressed form.
        expected: usize,
    },
    /// Flag bits or coordinate are wrong, or no point of the curve has this coordinate.
    #[error("not the compressed form of a point on the curve")]
    Encoding,
    /// The point at infinity, which everybody can sign for.
    #[error("the point at infinity")]
    Identity,
    /// A point of the curve outside the group of prime order.
    #[error("a point outside the prime-order subgroup")]
    Subgroup,
}

impl From<BLST_ERROR> for PointError {
    fn from(error: BLST_ERROR) -> Self {
        match error {
            BLST_ERROR::BLST_PK_IS_INFINITY => PointError::Identity,
            BLST_ERROR::BLST_POINT_NOT_IN_GROUP => PointError::Subgroup,
            BLST_ERROR::BLST_SUCCESS
            | BLST_ERROR::BLST_BAD_ENCODING
            | BLST_ERROR::BLST_POINT_NOT_ON_CURVE
            | BLST_ERROR::BLST_AGGR_TYPE_MISMATCH
            | BLST_ERROR::BLST_VERIFY_FAIL
            | BLST_ERROR::BLST_BAD_SCALAR => PointError::Encoding,
        }
    }
}

/// A public key: a point of the prime-order subgroup of G1, never the identity.
///
/// Group keys and public shares are both of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(min_pk::PublicKey);

impl PublicKey {
    /// Reads the compressed form (48 bytes).
    ///
    /// # Errors
    /// Wrong length or encoding, a point off the curve or outside the subgroup, or the identity.
    pub fn parse(bytes: &[u8]) -> Result<Self, PointError> {
        if bytes.len() != PUBLIC_KEY_LEN {
            return Err(PointError::Length {
                seen: bytes.len(),
                expected: PUBLIC_KEY_LEN,
            });
        }
        Ok(Self(min_pk::PublicKey::key_validate(bytes)?))
    }

    /// The compressed form.
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_LEN] {
        self.0.compress()
    }

    fn affine(&self) -> &blst_p1_affine {
        (&self.0).into()
    }

    fn projective(&self) -> G1Projective {
        let mut point = G1Affine::default();
        *point.as_mut() = *self.affine();
        point.into()
    }
}

/// A signature: a point of the prime-order subgroup of G2, never the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(min_pk::Signature);

impl Signature {
    /// Reads the compressed form (96 bytes).
    ///
    /// # Errors
    /// Wrong length or encoding, a point off the curve or outside the subgroup, or the identity.
    pub fn parse(bytes: &[u8]) -> Result<Self, PointError> {
        if bytes.len() != SIGNATURE_LEN {
            return Err(PointError::Length {
                seen: bytes.len(),
                expected: SIGNATURE_LEN,
            });
        }
        Ok(Self(min_pk::Signature::sig_validate(bytes, true)?))
    }

    /// The compressed form.
    pub fn to_bytes(&self) -> [u8; SIGNATURE_LEN] {
        self.0.compress()
    }

    fn affine(&self) -> &blst_p2_affine {
        (&self.0).into()
    }
}

/// Adds signatures: the plain aggregate of the scheme. `None` if there are no signatures or if they
/// cancel out.
pub fn aggregate(signatures: &[Signature]) -> Option<Signature> {
    let raw: Vec<&min_pk::Signature> = signatures.iter().map(|signature| &signature.0).collect();
    // Subgroup membership was checked when each was parsed.
    let sum = min_pk::AggregateSignature::aggregate(&raw, false)
        .ok()?
        .to_signature();
    sum.validate(true).ok()?;
    Some(Signature(sum))
}

/// Whether `signature` is `public_key`'s over `message` (for Ethereum: a 32-byte signing root).
pub fn verify(public_key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    // Both points were validated when parsed.
    signature
        .0
        .verify(false, message, DST, &[], &public_key.0, false)
        == BLST_ERROR::BLST_SUCCESS
}

/// Whether `signature` is the aggregate of one signature over `message` by each of `public_keys`.
///
/// False for no keys at all, and for keys that add up to the identity.
pub fn fast_aggregate_verify(
    public_keys: &[PublicKey],
    message: &[u8],
    signature: &Signature,
) -> bool {
    let sum = public_keys
        .par_iter()
        .with_min_len(256)
        .fold(G1Projective::identity, |sum, key| {
            let mut point = G1Affine::default();
            *point.as_mut() = *key.affine();
            sum + point
        })
        .reduce(G1Projective::identity, |a, b| a + b);
    if public_keys.is_empty() || bool::from(sum.is_identity()) {
        return false;
    }
    let sum = G1Affine::from(sum);
    let sum = PublicKey(min_pk::PublicKey::from(*sum.as_ref()));
    verify(&sum, message, signature)
}

/// One signature to be checked by [`find_invalid`].
#[derive(Debug, Clone, Copy)]
pub struct Signed {
    /// Who is said to have signed.
    pub public_key: PublicKey,
    /// The 32-byte signing root.
    pub message: [u8; 32],
    /// The signature.
    pub signature: Signature,
}

/// How many signatures are tried together when one of all is wrong.
const BATCH: usize = 64;

/// How many public keys one thread takes at a time: two of the eights in which blst shares its squarings, and few enough
/// that no thread ends long after the others.
const KEYS_AT_A_TIME: usize = 16;

/// Coefficient length of batch verification: a forger who may choose every input has to find one
/// 128-bit equation by trying.
const COEFFICIENT_BITS: usize = 128;

/// Checks many signatures at once and returns the positions of those that do not verify, ascending.
///
/// Signatures s of messages m by keys pk are accepted if Π e(c·pk, H(m)) = e(g, Σ c·s) with a coefficient c for each. If
/// all points lie in the prime-order groups (they do, by type) and one single signature is wrong, only a 2^-127th of all
/// coefficients satisfies the equation. The coefficients are a hash of *all* keys, messages and signatures
/// (Fiat–Shamir), so they are fixed only after the forger has fixed his input, and each other input he tries costs him a
/// hash and succeeds with that probability. So no random numbers are needed and the answer is reproducible.
///
/// `done` is told how many more were checked, from several threads.
pub fn find_invalid(items: &[Signed], done: &(dyn Fn(usize) + Sync)) -> Vec<usize> {
    if items.is_empty() {
        return Vec::new();
    }
    if all_hold(items, done) {
        return Vec::new();
    }
    items
        .par_chunks(BATCH)
        .enumerate()
        .flat_map_iter(|(chunk_number, chunk)| {
            // One chunk has just failed as a whole.
            let invalid: Vec<usize> = if items.len() > BATCH && batch_holds(chunk) {
                Vec::new()
            } else {
                (0..chunk.len())
                    .filter(|&position| {
                        chunk.get(position).is_none_or(|item| {
                            !verify(&item.public_key, &item.message, &item.signature)
                        })
                    })
                    .collect()
            };
            invalid
                .into_iter()
                .map(move |position| chunk_number * BATCH + position)
        })
        .collect()
}

/// The coefficients of one batch, fixed by everything in it.
struct Coefficients([u8; 32]);

impl Coefficients {
    fn new(items: &[Signed]) -> Self {
        let mut transcript = Sha256::new();
        transcript.update(b"charon-dkg batch verification");
        for item in items {
            transcript.update(item.public_key.0.serialize());
            transcript.update(item.message);
            transcript.update(item.signature.0.serialize());
        }
        Self(transcript.finalize().into())
    }

    /// The coefficient of this kind and number; 32 bytes, of which the first 16 count.
    fn get(&self, kind: &[u8], number: usize) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.0)
            .chain_update(kind)
            .chain_update(u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes())
            .finalize()
            .into()
    }

    /// The same as a number.
    fn number(&self, kind: &[u8], number: usize) -> u128 {
        let [mut low, mut high] = [[0_u8; 8]; 2];
        let bytes = self.get(kind, number);
        low.copy_from_slice(&bytes[..8]);
        high.copy_from_slice(&bytes[8..16]);
        u128::from(u64::from_le_bytes(low)) | u128::from(u64::from_le_bytes(high)) << 64
    }
}

/// Bits of a coefficient that are looked at together.
const WINDOW: usize = 4;

/// Σ n·P for few points and short numbers, with the doublings shared: blst's own multiplication is for numbers of full
/// length, and its sums of many points go to threads of their own. Nothing here is secret.
fn weighted_sum<G: Group>(terms: &[(G, u128)]) -> G {
    let multiples: Vec<Vec<G>> = terms
        .iter()
        .map(|(point, _)| {
            let add = |last: &Option<G>| Some(last.map_or(*point, |last| last + point));
            std::iter::successors(add(&None), |last| add(&Some(*last)))
                .take((1 << WINDOW) - 1)
                .collect()
        })
        .collect();
    let mut sum = G::identity();
    for shift in (0..COEFFICIENT_BITS).step_by(WINDOW).rev() {
        if !bool::from(sum.is_identity()) {
            for _ in 0..WINDOW {
                sum = sum.double();
            }
        }
        for ((_, number), multiples) in terms.iter().zip(&multiples) {
            let digit = usize::try_from(number >> shift & ((1 << WINDOW) - 1)).unwrap_or_default();
            if let Some(multiple) = digit.checked_sub(1).and_then(|it| multiples.get(it)) {
                sum += multiple;
            }
        }
    }
    sum
}

/// Whether all signatures verify. A key's messages share one pairing: with r for the key and q for the position among its
/// messages, the coefficient is r·q, and Σ q·H(m) is paired with r·pk. If a key has any wrong signature, the q hide that
/// with a chance of 2^-128, and if they do not, the r do.
fn all_hold(items: &[Signed], done: &(dyn Fn(usize) + Sync)) -> bool {
    let coefficients = Coefficients::new(items);
    let mut by_key: HashMap<[u8; 2 * PUBLIC_KEY_LEN], Vec<usize>> = HashMap::new();
    for (position, item) in items.iter().enumerate() {
        let positions = by_key.entry(item.public_key.0.serialize()).or_default();
        positions.push(position);
    }
    let groups: Vec<Vec<usize>> = by_key.into_values().collect();
    let most = groups.iter().map(Vec::len).max().unwrap_or_default();
    let of_message = |place| match place {
        0 => 1,
        _ => coefficients.number(b"message", place),
    };

    let pairings: Vec<Pairing<'_>> = groups
        .par_chunks(KEYS_AT_A_TIME)
        .map(|groups| {
            let mut pairing = Pairing::new(true, DST);
            for group in groups {
                let hashes: Vec<(G2Projective, u128)> = group
                    .iter()
                    .filter_map(|position| items.get(*position))
                    .enumerate()
                    .map(|(place, item)| {
                        let hash = G2Projective::hash_to_curve(&item.message, DST, &[]);
                        (hash, of_message(place))
                    })
                    .collect();
                if let Some((first, item)) = first_of(items, group) {
                    let of_key = coefficients.number(b"key", first);
                    let key = weighted_sum(&[(item.public_key.projective(), of_key)]);
                    pairing.raw_aggregate(
                        G2Affine::from(weighted_sum(&hashes)).as_ref(),
                        G1Affine::from(key).as_ref(),
                    );
                }
                done(group.len());
            }
            pairing.commit();
            pairing
        })
        .collect();
    let mut product = Pairing::new(true, DST);
    for pairing in &pairings {
        if product.merge(pairing) != BLST_ERROR::BLST_SUCCESS {
            return false;
        }
    }

    // Σ r·q·s, as Σ q·(Σ r·s), so that the many multiplications are by the short r.
    let mut sum = G2Projective::identity();
    for place in 0..most {
        let mut signatures: Vec<blst_p2_affine> = Vec::new();
        let mut scalars: Vec<u8> = Vec::new();
        for group in &groups {
            if let (Some((first, _)), Some(item)) = (
                first_of(items, group),
                group.get(place).and_then(|position| items.get(*position)),
            ) {
                signatures.push(*item.signature.affine());
                scalars.extend_from_slice(&coefficients.get(b"key", first)[..COEFFICIENT_BITS / 8]);
            }
        }
        if !signatures.is_empty() {
            let mut of_place = G2Projective::identity();
            *of_place.as_mut() = signatures.as_slice().mult(&scalars, COEFFICIENT_BITS);
            sum += weighted_sum(&[(of_place, of_message(place))]);
        }
    }
    let mut sum_paired = blst_fp12::default();
    Pairing::aggregated(&mut sum_paired, G2Affine::from(sum).as_ref());
    product.finalverify(Some(&sum_paired))
}

/// The first member of a group of positions; it names the group.
fn first_of<'a>(items: &'a [Signed], group: &[usize]) -> Option<(usize, &'a Signed)> {
    let position = *group.first()?;
    Some((position, items.get(position)?))
}

fn batch_holds(items: &[Signed]) -> bool {
    let coefficients = Coefficients::new(items);
    let mut pairing = Pairing::new(true, DST);
    for (position, item) in items.iter().enumerate() {
        let outcome = pairing.mul_n_aggregate(
            item.public_key.affine(),
            false,
            item.signature.affine(),
            false,
            &coefficients.get(b"item", position),
            COEFFICIENT_BITS,
            &item.message,
            &[],
        );
        if outcome != BLST_ERROR::BLST_SUCCESS {
            return false;
        }
    }
    pairing.commit();
    pairing.finalverify(None)
}

/// The secret part of one validator's key that one node holds: a non-zero scalar of the group order.
#[derive(Clone)]
pub struct ShareSecret(min_pk::SecretKey);

impl std::fmt::Debug for ShareSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShareSecret(redacted)")
    }
}

/// The bytes are not a scalar between 1 and the group order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a non-zero scalar below the group order")]
pub struct NotAScalar;

impl ShareSecret {
    /// Reads a big-endian scalar (32 bytes).
    ///
    /// # Errors
    /// Wrong length, zero, or not below the group order.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAScalar> {
        min_pk::SecretKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| NotAScalar)
    }

    /// A key made from at least 32 secret random bytes (`KeyGen` of the IETF draft).
    ///
    /// # Errors
    /// Fewer than 32 bytes.
    pub fn from_entropy(entropy: &[u8]) -> Result<Self, NotAScalar> {
        min_pk::SecretKey::key_gen(entropy, &[])
            .map(Self)
            .map_err(|_| NotAScalar)
    }

    /// The scalar, big-endian; wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SECRET_LEN]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key of this secret.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk())
    }

    /// Signs a message (for Ethereum: a 32-byte signing root).
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message, DST, &[]))
    }

    fn scalar(&self) -> Option<Scalar> {
        Option::from(Scalar::from_bytes_be(&self.to_bytes()))
    }

    fn from_scalar(scalar: &Scalar) -> Result<Self, NotAScalar> {
        let bytes = Zeroizing::new(scalar.to_bytes_be());
        Self::parse(bytes.as_slice())
    }
}

/// Deals a secret to `count` holders: share number x (from 1) is f(x), with f of degree
/// `threshold` − 1 and f(0) the secret. `entropy` (at least 32 secret random bytes) decides the
/// other coefficients.
///
/// # Errors
/// Too little entropy, or (with negligible probability) a share that is zero.
pub fn split(
    secret: &ShareSecret,
    threshold: u32,
    count: u32,
    entropy: &[u8],
) -> Result<Vec<ShareSecret>, NotAScalar> {
    if entropy.len() < 32 {
        return Err(NotAScalar);
    }
    let mut coefficients = vec![secret.scalar().ok_or(NotAScalar)?];
    for power in 1..threshold {
        let ikm = Zeroizing::new([entropy, power.to_le_bytes().as_slice()].concat());
        let coefficient = ShareSecret::from_entropy(&ikm)?;
        coefficients.push(coefficient.scalar().ok_or(NotAScalar)?);
    }
    let shares = (1..=count)
        .map(|x| {
            let x = Scalar::from(u64::from(x));
            let value = coefficients
                .iter()
                .rev()
                .fold(Scalar::ZERO, |value, coefficient| value * x + coefficient);
            ShareSecret::from_scalar(&value)
        })
        .collect();
    for coefficient in &mut coefficients {
        wipe(coefficient);
    }
    shares
}

/// Interpolates shares, given with their share indices (from 1, distinct), at 0.
///
/// # Errors
/// No shares, an index twice, or a sum that is zero.
pub fn recombine(shares: &[(u32, &ShareSecret)]) -> Result<ShareSecret, NotAScalar> {
    let mut secret = Scalar::ZERO;
    for (position, (index, share)) in shares.iter().enumerate() {
        let x = Scalar::from(u64::from(*index));
        let mut weight = Scalar::ONE;
        for (other_position, (other, _)) in shares.iter().enumerate() {
            if other_position != position {
                let other = Scalar::from(u64::from(*other));
                let inverse: Option<Scalar> = (other - x).invert().into();
                weight *= other * inverse.ok_or(NotAScalar)?;
            }
        }
        secret += weight * share.scalar().ok_or(NotAScalar)?;
    }
    let combined = ShareSecret::from_scalar(&secret);
    wipe(&mut secret);
    combined
}

/// Overwrites a scalar. `blstrs::Scalar` does not wipe itself; copies that the compiler made in
/// registers or on the stack are beyond reach, as they are for blst itself.
fn wipe(scalar: &mut Scalar) {
    let mut bytes = scalar.to_bytes_be();
    bytes.zeroize();
    *scalar = Scalar::ZERO;
    std::hint::black_box(scalar);
}

/// What is wrong with a validator's public shares; see [`check_shares`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharesFault {
    /// There is no polynomial to check: threshold 0, or fewer shares than the threshold.
    TooFew,
    /// All shares agree with each other, but they recombine to another group key.
    OtherGroupKey {
        /// The group key that the shares do have; `None` if it is the identity.
        actual: Option<PublicKey>,
    },
    /// Everything but this one share (its position from 0) lies on one polynomial.
    OneOff(usize),
    /// There is no polynomial of degree threshold − 1 through the shares, and it cannot be said
    /// which of them are wrong.
    Inconsistent,
    /// The polynomial has a lower degree: fewer shares than the threshold already make the key.
    DegreeTooLow,
}

/// Checks that group key and public shares are the values at 0, 1, 2, … n of one polynomial of
/// degree exactly `threshold` − 1.
///
/// Values at consecutive integers lie on a polynomial of degree below t if and only if all their
/// t-th differences vanish, which takes additions only (Newton's forward formula; all binomials
/// are invertible because n is far below the group order). This is the same as "every t shares
/// recombine to the group key, and to every other share".
pub fn check_shares(
    group_key: &PublicKey,
    shares: &[PublicKey],
    threshold: usize,
) -> Option<SharesFault> {
    if threshold == 0 || shares.len() < threshold {
        return Some(SharesFault::TooFew);
    }
    let mut differences: Vec<G1Projective> = std::iter::once(group_key)
        .chain(shares)
        .map(PublicKey::projective)
        .collect();
    let mut last_but_one = Vec::new();
    for round in 0..threshold {
        if round + 1 == threshold {
            last_but_one = differences.clone();
        }
        differences = difference(&differences);
    }
    if differences.iter().all(is_zero) {
        return if last_but_one.iter().all(is_zero) {
            Some(SharesFault::DegreeTooLow)
        } else {
            None
        };
    }
    match find_odd_one(&differences, threshold, shares.len()) {
        // Position 0 is the group key, and all others agree.
        Some(0) => Some(SharesFault::OtherGroupKey {
            actual: recombine_in_exponent(shares, threshold),
        }),
        Some(position) => Some(SharesFault::OneOff(position - 1)),
        None if shares.len() == threshold => Some(SharesFault::OtherGroupKey {
            actual: recombine_in_exponent(shares, threshold),
        }),
        None => Some(SharesFault::Inconsistent),
    }
}

/// The keys of one validator, read and checked together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorKeys {
    /// The group key.
    pub group: Result<PublicKey, PointError>,
    /// The public shares in order.
    pub shares: Vec<Result<PublicKey, PointError>>,
    /// What [`check_shares`] says; `None` too if some key could not be read.
    pub fault: Option<SharesFault>,
}

/// Reads group key and public shares in compressed form, and checks them as [`check_shares`] does.
///
/// It gives what reading each with [`PublicKey::parse`] would give, with fewer checks of the subgroup, which take most of
/// the time. If the t-th differences vanish, then every value is a sum of t consecutive ones with integer weights (in the
/// group of *all* points of the curve, not only in the subgroup). So if t consecutive points are in the subgroup, all are.
pub fn read_keys(
    group: &[u8; PUBLIC_KEY_LEN],
    shares: &[[u8; PUBLIC_KEY_LEN]],
    threshold: usize,
) -> ValidatorKeys {
    if let Some(keys) = read_keys_on_polynomial(group, shares, threshold) {
        return keys;
    }
    let group = PublicKey::parse(group);
    let shares: Vec<Result<PublicKey, PointError>> =
        shares.iter().map(|share| PublicKey::parse(share)).collect();
    let known: Option<Vec<PublicKey>> = shares.iter().map(|share| share.ok()).collect();
    let fault = match (group, known) {
        (Ok(group), Some(known)) => check_shares(&group, &known, threshold),
        (Ok(_) | Err(_), _) => None,
    };
    ValidatorKeys {
        group,
        shares,
        fault,
    }
}

/// The keys if nothing at all is wrong with them, or `None`.
fn read_keys_on_polynomial(
    group: &[u8; PUBLIC_KEY_LEN],
    shares: &[[u8; PUBLIC_KEY_LEN]],
    threshold: usize,
) -> Option<ValidatorKeys> {
    if threshold == 0 || shares.len() < threshold {
        return None;
    }
    let mut points = Vec::with_capacity(shares.len() + 1);
    for (position, bytes) in std::iter::once(group).chain(shares).enumerate() {
        let point = PublicKey(min_pk::PublicKey::uncompress(bytes).ok()?);
        // The check of the subgroup finds the identity too; elsewhere it is looked for here.
        let unusable = if position < threshold {
            point.0.validate().is_err()
        } else {
            is_zero(&point.projective())
        };
        if unusable {
            return None;
        }
        points.push(point);
    }
    let (group, shares) = points.split_first()?;
    if check_shares(group, shares, threshold).is_some() {
        return None;
    }
    Some(ValidatorKeys {
        group: Ok(*group),
        shares: shares.iter().copied().map(Ok).collect(),
        fault: None,
    })
}

fn difference(values: &[G1Projective]) -> Vec<G1Projective> {
    values
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some(b - a),
            _ => None,
        })
        .collect()
}

fn is_zero(point: &G1Projective) -> bool {
    point.is_identity().into()
}

/// Finds the one position e in 0..=n whose value alone is wrong, from the t-th differences D.
///
/// An error E at e adds (−1)^(t−(e−x))·C(t, e−x)·E to each D(x) whose window x..=x+t holds e and
/// nothing to the others. With n = t there is one window and everybody could be to blame.
fn find_odd_one(differences: &[G1Projective], threshold: usize, count: usize) -> Option<usize> {
    if count == threshold {
        return None;
    }
    let binomials = binomials(threshold)?;
    let weight = |position: usize, window: usize| -> Scalar {
        match position
            .checked_sub(window)
            .and_then(|k| binomials.get(k).map(|weight| (k, weight)))
        {
            Some((k, weight)) if (threshold - k).is_multiple_of(2) => *weight,
            Some((_, weight)) => -weight,
            None => Scalar::ZERO,
        }
    };
    let mut found = None;
    for position in 0..=count {
        // Some window holds every position; take its difference as the measure of the error.
        let reference = position.saturating_sub(threshold);
        let Some(measure) = differences.get(reference) else {
            continue;
        };
        let reference_weight = weight(position, reference);
        let explains = differences
            .iter()
            .enumerate()
            .all(|(window, value)| measure * weight(position, window) == value * reference_weight);
        if explains && !is_zero(measure) {
            if found.is_some() {
                return None;
            }
            found = Some(position);
        }
    }
    found
}

/// C(t, 0) … C(t, t) in the scalar field.
fn binomials(threshold: usize) -> Option<Vec<Scalar>> {
    let mut row = vec![Scalar::ONE];
    for k in 0..threshold {
        let numerator = Scalar::from(u64::try_from(threshold - k).ok()?);
        let inverse: Option<Scalar> = Scalar::from(u64::try_from(k + 1).ok()?).invert().into();
        let next = row.last()? * numerator * inverse?;
        row.push(next);
    }
    Some(row)
}

/// The group key that the first `threshold` shares make: Σ (−1)^(i−1)·C(t, i)·P(i), the Lagrange
/// formula at 0 for the indices 1…t.
fn recombine_in_exponent(shares: &[PublicKey], threshold: usize) -> Option<PublicKey> {
    let binomials = binomials(threshold)?;
    let sum = shares
        .iter()
        .take(threshold)
        .zip(binomials.iter().skip(1))
        .enumerate()
        .map(|(position, (share, weight))| {
            let term = share.projective() * weight;
            if position.is_multiple_of(2) {
                term
            } else {
                -term
            }
        })
        .fold(G1Projective::identity(), |sum, term| sum + term);
    if is_zero(&sum) {
        return None;
    }
    let sum = G1Affine::from(sum);
    Some(PublicKey(min_pk::PublicKey::from(*sum.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(seed: u8) -> ShareSecret {
        ShareSecret::from_entropy(&[seed; 32]).unwrap()
    }

    fn dealt(seed: u8, threshold: u32, count: u32) -> (PublicKey, Vec<PublicKey>) {
        let group = secret(seed);
        let shares = split(&group, threshold, count, &[seed ^ 0xff; 32]).unwrap();
        (
            group.public_key(),
            shares.iter().map(ShareSecret::public_key).collect(),
        )
    }

    #[test]
    fn a_known_key_and_signature() {
        // EIP-2333 and consensus-spec-tests `bls/sign`: privkey 0x263d…, message of zero bytes.
        let secret = ShareSecret::parse(
            &hex::decode("263dbd792f5b1be47ed85f8938c0f29586af0d3ac7b977f21c278fe1462040e3")
                .unwrap(),
        )
        .unwrap();
        assert_eq!(
            hex::encode(secret.public_key().to_bytes()),
            "a491d1b0ecd9bb917989f0e74f0dea0422eac4a873e5e2644f368dffb9a6e20fd6e10c1b77654d067c0618f6e5a7f79a"
        );
        assert_eq!(
            hex::encode(secret.sign(&[0; 32]).to_bytes()),
            "b6ed936746e01f8ecf281f020953fbf1f01debd5657c4a383940b020b26507f6076334f91e2366c96e9ab279fb5158090352ea1c5b0c9274504f4f0e7053af24802e51e4568d164fe986834f41e55c8e850ce1f98458c0cfc9ab380b55285a55"
        );
    }

    #[test]
    fn points_that_nobody_may_use_are_refused() {
        let mut infinity = [0_u8; 48];
        infinity[0] = 0xc0;
        assert_eq!(PublicKey::parse(&infinity), Err(PointError::Identity));
        let mut infinity = [0_u8; 96];
        infinity[0] = 0xc0;
        assert_eq!(
            Signature::parse(&infinity).map(|s| s.to_bytes()),
            Err(PointError::Identity)
        );
        assert_eq!(
            PublicKey::parse(&[0; 47]),
            Err(PointError::Length {
                seen: 47,
                expected: 48
            })
        );
        // The smallest x with a point on the curve outside the subgroup, either sign.
        let outside = (0..=255_u8)
            .filter_map(|x| {
                let mut bytes = [0_u8; 48];
                bytes[0] = 0x80;
                bytes[47] = x;
                PublicKey::parse(&bytes).err()
            })
            .collect::<Vec<_>>();
        assert!(outside.contains(&PointError::Subgroup));
        assert!(outside.contains(&PointError::Encoding));
        assert!(ShareSecret::parse(&[0; 32]).is_err());
        assert!(ShareSecret::parse(&[0xff; 32]).is_err());
    }

    #[test]
    fn batches_find_exactly_the_bad_ones() {
        let mut items: Vec<Signed> = (0..150_u8)
            .map(|seed| {
                let secret = secret(seed);
                Signed {
                    public_key: secret.public_key(),
                    message: [seed; 32],
                    signature: secret.sign(&[seed; 32]),
                }
            })
            .collect();
        assert_eq!(find_invalid(&items, &|_| ()), Vec::<usize>::new());
        // Two signatures exchanged: their plain sum is unchanged.
        let (a, b) = (items[3].signature, items[4].signature);
        items[3].signature = b;
        items[4].signature = a;
        items[149].message[0] ^= 1;
        assert_eq!(find_invalid(&items, &|_| ()), vec![3, 4, 149]);
        // Several messages of one key, two of them with each other's signature.
        let one = secret(1);
        let mut items: Vec<Signed> = (0..5_u8)
            .map(|number| Signed {
                public_key: one.public_key(),
                message: [number; 32],
                signature: one.sign(&[number; 32]),
            })
            .collect();
        assert_eq!(find_invalid(&items, &|_| ()), Vec::<usize>::new());
        let (a, b) = (items[1].signature, items[3].signature);
        items[1].signature = b;
        items[3].signature = a;
        assert_eq!(find_invalid(&items, &|_| ()), vec![1, 3]);
        assert_eq!(find_invalid(&[], &|_| ()), Vec::<usize>::new());
    }

    #[test]
    fn a_weighted_sum_is_what_multiplication_and_addition_make() {
        let points: Vec<G1Projective> = (1..4)
            .map(|seed| secret(seed).public_key().projective())
            .collect();
        for numbers in [
            [0, 0, 0],
            [1, 0, 15],
            [16, u128::MAX, 1 << 127],
            [0x0123_4567_89ab_cdef_0fed_cba9_8765_4321, 3, 1 << 64],
        ] {
            let expected = points
                .iter()
                .zip(numbers)
                .map(|(point, number)| {
                    let mut bytes = [0; 32];
                    bytes[..16].copy_from_slice(&number.to_le_bytes());
                    let scalar: Option<Scalar> = Scalar::from_bytes_le(&bytes).into();
                    point * scalar.unwrap()
                })
                .fold(G1Projective::identity(), |sum, term| sum + term);
            let terms: Vec<(G1Projective, u128)> = points.iter().copied().zip(numbers).collect();
            assert_eq!(weighted_sum(&terms), expected);
        }
        assert!(is_zero(&weighted_sum::<G1Projective>(&[])));
    }

    #[test]
    fn aggregates_verify_for_exactly_their_signers() {
        let secrets: Vec<ShareSecret> = (0..5).map(secret).collect();
        let keys: Vec<PublicKey> = secrets.iter().map(ShareSecret::public_key).collect();
        let signatures: Vec<Signature> = secrets.iter().map(|s| s.sign(b"lock hash")).collect();
        let sum = aggregate(&signatures).unwrap();
        assert!(fast_aggregate_verify(&keys, b"lock hash", &sum));
        assert!(!fast_aggregate_verify(&keys[1..], b"lock hash", &sum));
        assert!(!fast_aggregate_verify(&keys, b"other hash", &sum));
        assert!(!fast_aggregate_verify(&[], b"lock hash", &sum));
        assert!(aggregate(&[]).is_none());
    }

    #[test]
    fn every_threshold_subset_recombines() {
        let group = secret(7);
        let shares = split(&group, 3, 4, &[9; 32]).unwrap();
        for skip in 0..4_u32 {
            let subset: Vec<(u32, &ShareSecret)> = (1..=4)
                .zip(&shares)
                .filter(|(index, _)| *index != skip + 1)
                .collect();
            assert_eq!(recombine(&subset).unwrap().public_key(), group.public_key());
        }
        let two: Vec<(u32, &ShareSecret)> = (1..=2).zip(&shares).collect();
        assert_ne!(recombine(&two).unwrap().public_key(), group.public_key());
        assert!(recombine(&[(1, &shares[0]), (1, &shares[0])]).is_err());
    }

    #[test]
    fn dealt_shares_are_on_their_polynomial() {
        for (threshold, count) in [(1, 1), (1, 3), (2, 3), (3, 4), (4, 4), (7, 10), (20, 30)] {
            let (group, shares) = dealt(3, threshold, count);
            assert_eq!(
                check_shares(&group, &shares, threshold as usize),
                None,
                "{threshold} of {count}"
            );
        }
    }

    #[test]
    fn keys_read_together_are_those_read_one_by_one() {
        let (group, shares) = dealt(6, 3, 5);
        let group = group.to_bytes();
        let shares: Vec<[u8; 48]> = shares.iter().map(PublicKey::to_bytes).collect();
        let good = read_keys(&group, &shares, 3);
        assert_eq!(good.fault, None);
        assert_eq!(good.group, PublicKey::parse(&group));
        for (read, share) in good.shares.iter().zip(&shares) {
            assert_eq!(*read, PublicKey::parse(share));
        }
        // A point of small order added to one share, so that it is still on the curve: whichever share it is, and
        // whether its subgroup is checked or not, it is found.
        let outside: PublicKey = (0..=255_u8)
            .find_map(|x| {
                let mut bytes = [0_u8; 48];
                bytes[0] = 0x80;
                bytes[47] = x;
                let point = min_pk::PublicKey::uncompress(&bytes).ok()?;
                point.validate().is_err().then_some(PublicKey(point))
            })
            .unwrap();
        let mut infinity = [0_u8; 48];
        infinity[0] = 0xc0;
        for position in 0..5 {
            let share = PublicKey::parse(&shares[position]).unwrap();
            let moved = G1Affine::from(share.projective() + outside.projective());
            for (bytes, error) in [
                (moved.to_compressed(), PointError::Subgroup),
                (infinity, PointError::Identity),
                ([0xff; 48], PointError::Encoding),
            ] {
                let mut wrong = shares.clone();
                wrong[position] = bytes;
                let read = read_keys(&group, &wrong, 3);
                assert_eq!(read.shares[position], Err(error));
                assert_eq!(read.fault, None);
                assert_eq!(read.shares.iter().filter(|share| share.is_err()).count(), 1);
            }
        }
        let mut wrong = shares.clone();
        wrong[4] = group;
        assert_eq!(
            read_keys(&group, &wrong, 3).fault,
            Some(SharesFault::OneOff(4))
        );
        assert_eq!(
            read_keys(&group, &shares[..2], 3).fault,
            Some(SharesFault::TooFew)
        );
    }

    #[test]
    fn wrong_shares_are_found_and_named() {
        let (group, shares) = dealt(1, 3, 5);
        let stranger = secret(99).public_key();
        for position in 0..5 {
            let mut wrong = shares.clone();
            wrong[position] = stranger;
            assert_eq!(
                check_shares(&group, &wrong, 3),
                Some(SharesFault::OneOff(position))
            );
        }
        assert_eq!(
            check_shares(&stranger, &shares, 3),
            Some(SharesFault::OtherGroupKey {
                actual: Some(group)
            })
        );
        let mut swapped = shares.clone();
        swapped.swap(0, 3);
        assert_eq!(
            check_shares(&group, &swapped, 3),
            Some(SharesFault::Inconsistent)
        );
        // With as many shares as the threshold any shares lie on some polynomial.
        let (group, shares) = dealt(2, 3, 3);
        assert_eq!(
            check_shares(&stranger, &shares, 3),
            Some(SharesFault::OtherGroupKey {
                actual: Some(group)
            })
        );
    }

    #[test]
    fn a_degree_that_is_too_low_or_too_high_is_found() {
        let (group, shares) = dealt(4, 2, 4);
        assert_eq!(
            check_shares(&group, &shares, 3),
            Some(SharesFault::DegreeTooLow)
        );
        let (group, shares) = dealt(4, 4, 5);
        assert_eq!(
            check_shares(&group, &shares, 3),
            Some(SharesFault::Inconsistent)
        );
        // All shares equal to the group key: a polynomial of degree 0.
        assert_eq!(
            check_shares(&group, &[group; 4], 3),
            Some(SharesFault::DegreeTooLow)
        );
        assert_eq!(check_shares(&group, &shares, 6), Some(SharesFault::TooFew));
    }
}
