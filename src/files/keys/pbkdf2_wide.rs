//! PBKDF2-HMAC-SHA-256 of sixteen passwords at once, one in each lane of an AVX-512 register.
//!
//! Key stretching takes nearly all the time of a verification. One stream of SHA-256 cannot be divided, but a cluster has many
//! keystores. `pulp` asks the processor at run time and hides the unsafe part; elsewhere the plain implementation serves,
//! which is also this one's second opinion in the tests.

/// How many passwords are stretched together.
pub(super) const LANES: usize = 16;

/// Fewest passwords for which a round of all lanes is faster than one after the other (measured: a round takes as
/// long as four and a half).
pub(super) const WORTHWHILE: usize = 5;

/// One password and its salt.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only x86-64 has registers that wide")
)]
pub(super) struct Input<'a> {
    pub(super) password: &'a [u8],
    pub(super) salt: &'a [u8],
}

#[cfg(target_arch = "x86_64")]
pub(super) use wide::stretch;

/// Stretches at most [`LANES`] passwords to 32 bytes each; `None` if this processor cannot.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn stretch(
    _inputs: &[Input<'_>],
    _rounds: std::num::NonZeroU32,
) -> Option<Vec<zeroize::Zeroizing<[u8; 32]>>> {
    None
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::num::NonZeroU32;

    use pulp::{NullaryFnOnce, cast, u32x16, x86::V4};
    use sha2::block_api::compress256;
    use sha2::{Digest, Sha256};
    use zeroize::{Zeroize, Zeroizing};

    use super::{Input, LANES};

    /// Length of a SHA-256 block in bytes.
    const BLOCK_LEN: usize = 64;

    /// FIPS 180-4, section 5.3.3.
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    /// FIPS 180-4, section 4.2.2.
    #[rustfmt::skip]
    const CONSTANTS: [u32; 64] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ];

    /// Eight words of sixteen states.
    type States = [u32x16; 8];

    /// Stretches at most [`LANES`] passwords to 32 bytes each; `None` if this processor cannot.
    pub(in super::super) fn stretch(
        inputs: &[Input<'_>],
        rounds: NonZeroU32,
    ) -> Option<Vec<Zeroizing<[u8; 32]>>> {
        let simd = V4::try_new()?;
        if inputs.len() > LANES {
            return None;
        }
        // Words first, lanes second, as the registers have them.
        let mut inner = Zeroizing::new([[0_u32; LANES]; 8]);
        let mut outer = Zeroizing::new([[0_u32; LANES]; 8]);
        let mut first = Zeroizing::new([[0_u32; LANES]; 8]);
        for (lane, input) in inputs.iter().enumerate() {
            let key = hmac_key(input.password);
            let inner_state = state_after(&key, 0x36);
            let outer_state = state_after(&key, 0x5c);
            let first_output = first_output(&key, input.salt);
            for word in 0..8 {
                inner[word][lane] = inner_state[word];
                outer[word][lane] = outer_state[word];
                first[word][lane] = first_output[word];
            }
        }
        let mut sum = simd.vectorize(Rounds {
            simd,
            inner: inner.map(cast),
            outer: outer.map(cast),
            first: first.map(cast),
            more: rounds.get() - 1,
        });
        let mut words: [[u32; LANES]; 8] = sum.map(cast);
        sum = [simd.splat_u32x16(0); 8];
        std::hint::black_box(&mut sum);
        let outputs = (0..inputs.len())
            .map(|lane| {
                let mut output = Zeroizing::new([0_u8; 32]);
                for (bytes, word) in output.chunks_exact_mut(4).zip(&words) {
                    bytes.copy_from_slice(&word[lane].to_be_bytes());
                }
                output
            })
            .collect();
        words.zeroize();
        Some(outputs)
    }

    /// The key block of HMAC (RFC 2104): the password, hashed first if it is longer than a block.
    fn hmac_key(password: &[u8]) -> Zeroizing<[u8; BLOCK_LEN]> {
        let mut key = Zeroizing::new([0; BLOCK_LEN]);
        if password.len() > BLOCK_LEN {
            key[..32].copy_from_slice(&Sha256::digest(password));
        } else {
            key[..password.len()].copy_from_slice(password);
        }
        key
    }

    /// The state of SHA-256 after the key block xor the pad.
    fn state_after(key: &[u8; BLOCK_LEN], pad: u8) -> Zeroizing<[u32; 8]> {
        let mut state = Zeroizing::new(INITIAL);
        let block = Zeroizing::new(key.map(|byte| byte ^ pad));
        compress256(&mut state, std::slice::from_ref(&*block));
        state
    }

    /// HMAC of the salt and the block number 1 (RFC 8018: U_1).
    fn first_output(key: &[u8; BLOCK_LEN], salt: &[u8]) -> Zeroizing<[u32; 8]> {
        let padded = |pad| Zeroizing::new(key.map(|byte| byte ^ pad));
        let inner = Sha256::new()
            .chain_update(padded(0x36).as_slice())
            .chain_update(salt)
            .chain_update(1_u32.to_be_bytes())
            .finalize();
        let output = Sha256::new()
            .chain_update(padded(0x5c).as_slice())
            .chain_update(inner)
            .finalize();
        let mut words = Zeroizing::new([0; 8]);
        for (word, bytes) in words.iter_mut().zip(output.chunks_exact(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        words
    }

    /// All rounds but the first.
    struct Rounds {
        simd: V4,
        inner: States,
        outer: States,
        first: States,
        more: u32,
    }

    impl NullaryFnOnce for Rounds {
        type Output = States;

        #[inline(always)]
        fn call(self) -> States {
            let simd = self.simd;
            let mut sum = self.first;
            let mut last = self.first;
            for _ in 0..self.more {
                let digest = compress(simd, &self.inner, block_of(simd, &last));
                last = compress(simd, &self.outer, block_of(simd, &digest));
                for (sum, last) in sum.iter_mut().zip(&last) {
                    *sum = simd.xor_u32x16(*sum, *last);
                }
            }
            sum
        }
    }

    /// A digest as the second and last block of a message: padding, and the length of both blocks in bits.
    #[inline(always)]
    fn block_of(simd: V4, digest: &States) -> [u32x16; 16] {
        let zero = simd.splat_u32x16(0);
        let end = simd.splat_u32x16(0x8000_0000);
        let length = simd.splat_u32x16(8 * (64 + 32));
        let [a, b, c, d, e, f, g, h] = *digest;
        [
            a, b, c, d, e, f, g, h, end, zero, zero, zero, zero, zero, zero, length,
        ]
    }

    macro_rules! rotate_right {
        ($simd:expr, $bits:literal, $x:expr) => {
            cast::<_, u32x16>($simd.avx512f._mm512_ror_epi32::<$bits>(cast($x)))
        };
    }

    macro_rules! shift_right {
        ($simd:expr, $bits:literal, $x:expr) => {
            cast::<_, u32x16>($simd.avx512f._mm512_srli_epi32::<$bits>(cast($x)))
        };
    }

    /// Any function of three bits, by its truth table.
    macro_rules! bitwise {
        ($simd:expr, $table:literal, $a:expr, $b:expr, $c:expr) => {
            cast::<_, u32x16>($simd.avx512f._mm512_ternarylogic_epi32::<$table>(
                cast($a),
                cast($b),
                cast($c),
            ))
        };
    }

    /// Two rotations of a word and a third one, or a shift, added bit by bit (FIPS 180-4, section 4.1.2).
    macro_rules! mixed {
        ($simd:expr, $x:expr, $a:literal, $b:literal, $third:ident $c:literal) => {
            bitwise!(
                $simd,
                0x96,
                rotate_right!($simd, $a, $x),
                rotate_right!($simd, $b, $x),
                $third!($simd, $c, $x)
            )
        };
    }

    /// One step of the compression: the state, with a constant and a word of the schedule added in.
    #[inline(always)]
    fn step(simd: V4, states: States, constant: u32, word: u32x16) -> States {
        let add = |a: u32x16, b: u32x16| simd.wrapping_add_u32x16(a, b);
        let [a, b, c, d, e, f, g, h] = states;
        let sum1 = mixed!(simd, e, 6, 11, rotate_right 25);
        let choice = bitwise!(simd, 0xca, e, f, g);
        let word = add(simd.splat_u32x16(constant), word);
        let first = add(add(h, word), add(choice, sum1));
        let sum0 = mixed!(simd, a, 2, 13, rotate_right 22);
        let majority = bitwise!(simd, 0xe8, a, b, c);
        let next = add(first, add(sum0, majority));
        [next, a, b, c, add(d, first), e, f, g]
    }

    /// The word of the schedule that takes the place of the oldest of the last sixteen.
    #[inline(always)]
    fn scheduled(simd: V4, oldest: u32x16, x: u32x16, y: u32x16, z: u32x16) -> u32x16 {
        let add = |a: u32x16, b: u32x16| simd.wrapping_add_u32x16(a, b);
        let sigma0 = mixed!(simd, x, 7, 18, shift_right 3);
        let sigma1 = mixed!(simd, z, 17, 19, shift_right 10);
        add(add(oldest, sigma0), add(y, sigma1))
    }

    /// Sixteen steps, written out: the compiler leaves a loop of them as it is, and then the schedule is in memory
    /// instead of registers (measured: 10.3 ms a password instead of 8.6).
    macro_rules! sixteen {
        ($place:ident, $step:expr) => {
            sixteen!(@ $place, $step, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
        };
        (@ $place:ident, $step:expr, $($number:literal)*) => {
            $({
                const $place: usize = $number;
                $step;
            })*
        };
    }

    /// One block of SHA-256 in every lane (FIPS 180-4, section 6.2.2).
    #[inline(always)]
    fn compress(simd: V4, before: &States, mut words: [u32x16; 16]) -> States {
        let mut states = *before;
        sixteen!(
            PLACE,
            states = step(simd, states, CONSTANTS[PLACE], words[PLACE])
        );
        for constants in CONSTANTS[16..].chunks_exact(16) {
            sixteen!(PLACE, {
                words[PLACE] = scheduled(
                    simd,
                    words[PLACE],
                    words[(PLACE + 1) % 16],
                    words[(PLACE + 9) % 16],
                    words[(PLACE + 14) % 16],
                );
                states = step(simd, states, constants[PLACE], words[PLACE]);
            });
        }
        std::array::from_fn(|word| simd.wrapping_add_u32x16(before[word], states[word]))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_lane_is_what_the_plain_implementation_says() {
            let passwords: Vec<Vec<u8>> = (0..LANES).map(|lane| vec![0x61; lane * 9]).collect();
            let salts: Vec<Vec<u8>> = (0..LANES).map(|lane| vec![0x73; lane * 5]).collect();
            let inputs: Vec<Input<'_>> = passwords
                .iter()
                .zip(&salts)
                .map(|(password, salt)| Input { password, salt })
                .collect();
            for rounds in [1, 2, 3, 100] {
                let rounds = NonZeroU32::new(rounds).unwrap();
                for count in [0, 1, 7, LANES] {
                    let Some(outputs) = stretch(&inputs[..count], rounds) else {
                        assert!(V4::try_new().is_none());
                        // Only the plain crate is ever used on this processor.
                        return;
                    };
                    assert_eq!(outputs.len(), count);
                    for (input, output) in inputs.iter().zip(&outputs) {
                        let mut plain = [0; 32];
                        ring::pbkdf2::derive(
                            ring::pbkdf2::PBKDF2_HMAC_SHA256,
                            rounds,
                            input.salt,
                            input.password,
                            &mut plain,
                        );
                        assert_eq!(**output, plain);
                    }
                }
            }
            let one = NonZeroU32::MIN;
            assert!(stretch(&[inputs[0]; LANES + 1], one).is_none());
        }
    }
}
