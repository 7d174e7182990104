/* Functions of one variable on vectors.  README.md in the folder above has the largest error of each.

   Polynomials are near-minimax: weighted least squares on Chebyshev nodes, reweighted until the error was level (Lawson's
   algorithm), with coefficients rounded to float32 from the constant term up and the rest fitted again after each.
   "u" is 2^-24, half a unit in the last place of 1.  NaN passes through all of them. */

/* x = n ln2 + r, |r| <= ln2 / 2, for |n| < 512: ln2 in two parts, the first of 15 bits, so that its product with n is exact. */
INLINE vf vf_reduce_exp(vf x, vf *n)
{
    *n = vf_round_small(x * 1.44269504f);
    return x - *n * 0.693145752f - *n * 1.42860677e-6f;
}

/* n / d for d in [1, 2^100]: the quotient through an estimate of 1/d and its remainder, at most 0.6 ulp, where a division would
   keep the units for multiplication waiting. */
#if VL == 16
INLINE vf vf_divide(vf n, vf d)
{
    vf r = (vf)_mm512_rcp14_ps((__m512)d), q = n * r;
    return (n - d * q) * r + q;
}
#else
INLINE vf vf_divide(vf n, vf d) { return n / d; }
#endif

#if VL == 16
/* exp x for x in [-104, 89]: x = n ln2 + r with n a multiple of 1/16, 2^n from a table of 16 and vscalefps, |r| <= ln2 / 32:
   1 + r + r^2 q(r), off by 0.04 u. */
INLINE vf vf_exp_inside(vf x)
{
    const vf table = {1.0f,        1.04427373f, 1.09050775f, 1.13878858f, 1.18920708f, 1.24185777f, 1.29683959f, 1.35425556f,
                      1.41421354f, 1.47682619f, 1.54221082f, 1.61049032f, 1.68179286f, 1.75625217f, 1.83400810f, 1.91520655f};
    vf t = x * 1.44269504f + 786432.0f, n = t - 786432.0f;      /* a float near 1.5 * 2^19 counts sixteenths */
    vf r = x - n * 0.693145752f - n * 1.42860677e-6f;
    vf p = (0.166668355f * r + 0.500016212f) * r * r + r;
    vf power = (vf)_mm512_permutexvar_ps((__m512i)t, (__m512)table);
    return (vf)_mm512_scalef_ps((__m512)(power * p + power), (__m512)n);
}
#else
/* exp x for x in [-104, 89]: 1 + r + r^2 q(r), off by 0.05 u. */
INLINE vf vf_exp_inside(vf x)
{
    vf n, r = vf_reduce_exp(x, &n);
    vf q = 1.38207339e-3f * r + 8.36867746e-3f;
    q = q * r + 4.16682661e-2f;
    q = q * r + 0.166665211f;
    q = q * r + 0.49999994f;
    return vf_scale(q * r * r + r + 1.0f, n);
}
#endif

/* Underflows to 0, overflows to inf. */
INLINE vf vf_exp(vf x) { return vf_exp_inside(vf_clamp(x, vf_set1(-104.0f), vf_set1(89.0f))); }
/* For x that is never above 89. */
INLINE vf vf_exp_below(vf x) { return vf_exp_inside(vf_max(vf_set1(-104.0f), x)); }

/* exp x - 1 for x in [-20, 20]: 2^n (exp r - 1) + (2^n - 1), nothing cancels; off by 0.23 u. */
INLINE vf vf_expm1(vf x)
{
    vf n, r = vf_reduce_exp(x, &n);
    vf q = 1.38706574e-3f * r + 8.36626161e-3f;
    q = q * r + 4.16674353e-2f;
    q = q * r + 0.166665465f;
    q = q * r + 0.49999997f;
    vf scale = vf_pow2(n);
    return (q * r * r + r) * scale + (scale - 1.0f);
}

/* alpha (exp(slope x) - 1) for x < 0 and slope > 0, otherwise x.  At -17.4, exp x - 1 rounds to -1. */
INLINE vf vf_elu(vf x, vf alpha, vf slope)
{
    return vf_select(x < 0.0f, alpha * vf_expm1(vf_clamp(x * slope, vf_set1(-18.0f), vf_set1(0.0f))), x);
}

/* log x = e ln2 + log(1 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1]: f - f^2/2 + f^3 p(f), off by 0.1 u. */
INLINE vf vf_log(vf x)
{
    vi small = x < 1.17549435e-38f;
    vf z = vf_select(small, x * 8388608.0f, x);          /* denormals */
    vi e = ((vi)z - 0x3f3504f3) >> 23;
    vf f = (vf)((vi)z - (e << 23)) - 1.0f, n = __builtin_convertvector(e, vf) - (vf)(small & (vi)vf_set1(23.0f));
    vf p = -7.6363951e-2f * f + 0.127621979f;
    p = p * f - 0.131596133f;
    p = p * f + 0.142015815f;
    p = p * f - 0.166234091f;
    p = p * f + 0.200012416f;
    p = p * f - 0.250008196f;
    p = p * f + 0.333333313f;
    vf s = f * f, y = p * f * s + n * 1.42860677e-6f - 0.5f * s + f + n * 0.693145752f;
    vf odd = vf_select(x == 0.0f, vf_set1(-INFINITY), vf_select(x < 0.0f, vf_set1(NAN), x));
    return vf_select((x > 0.0f) & (x < INFINITY), y, odd);
}

/* log(1 + e) for e in [0, 1]: e + e^2 q(e), off by 0.09 u. */
INLINE vf vf_log1p_unit(vf e)
{
    vf q = -3.3065395e-3f * e + 2.01503336e-2f;
    q = q * e - 5.75615279e-2f;
    q = q * e + 0.10670013f;
    q = q * e - 0.153490975f;
    q = q * e + 0.196931928f;
    q = q * e - 0.24958156f;
    q = q * e + 0.333304703f;
    q = q * e - 0.499999315f;
    return q * e * e + e;
}

INLINE vf vf_softplus(vf x) { return vf_max(vf_set1(0.0f), x) + vf_log1p_unit(vf_exp_below(vf_minus_abs(x))); }

/* 1 / (1 + exp(-x)) as e / (1 + e) for x < 0: exp never overflows, and small results keep their digits. */
INLINE vf vf_sigmoid(vf x)
{
    vf e = vf_exp_below(vf_minus_abs(x));
    return vf_divide(vf_select(x < 0.0f, e, vf_set1(1.0f)), 1.0f + e);
}

/* m / (m + 2) with m = exp(2x) - 1; at 9.02, tanh rounds to 1. */
INLINE vf vf_tanh(vf x)
{
    vf m = vf_expm1(vf_clamp(x + x, vf_set1(-19.0f), vf_set1(19.0f)));
    return vf_with_sign(vf_divide(m, m + 2.0f), x);
}

/* x tanh(log(1 + exp x)) = x n / (n + 2) with n = e (e + 2), e = exp x; at 20 the quotient rounds to 1. */
INLINE vf vf_mish(vf x)
{
    vf e = vf_exp_below(vf_min(vf_set1(20.0f), x)), n = e * (e + 2.0f);
    return x * vf_divide(n, n + 2.0f);
}

/* erf x: below 1, x + x p(x^2), off by 0.02 u; above, 1 - exp(-q(x)), off by 0.3 u. */
INLINE vf vf_erf(vf x)
{
    vf a = vf_abs(x), s = x * x;
    vf p = 7.80690316e-5f * s - 7.9978531e-4f;
    p = p * s + 5.1871622e-3f;
    p = p * s - 2.68533472e-2f;
    p = p * s + 0.112835787f;
    p = p * s - 0.37612626f;
    p = p * s + 0.128379166f;
    vf q = 1.15723233e-3f * a - 1.48319304e-2f;
    q = q * a + 8.87999535e-2f;
    q = q * a + 0.654239774f;
    q = q * a + 1.11762142f;
    q = q * a + 2.61914567e-3f;
    return vf_with_sign(vf_select(a < 1.0f, p * a + a, 1.0f - vf_exp_below(-q)), x);
}

/* x times the normal distribution function: erfc(a)/2 = t exp(p(1 - t) - a^2) with t = 1 / (1 + 0.45 a), a = |x| / sqrt 2, the
   form of Press et al., Numerical Recipes, 6.2; p is off by 0.2 u. */
INLINE vf vf_gelu(vf x)
{
    vf a = vf_min(vf_set1(20.0f), vf_abs(x)), t = vf_divide(vf_set1(1.0f), 0.318198052f * a + 1.0f), s = 1.0f - t;
    vf p = 0.610442221f - 0.184505388f * s;
    p = p * s - 0.634308159f;
    p = p * s + 0.153701752f;
    p = p * s - 0.105734751f;
    p = p * s + 0.224497646f;
    p = p * s + 0.285390705f;
    p = p * s - 0.212965935f;
    p = p * s - 1.5075103f;
    p = p * s - 0.693147182f;
    vf h = t * vf_exp_below(p - 0.5f * x * x);
    return x * vf_select(x < 0.0f, h, 1.0f - h);
}

/* x (1 + tanh v) / 2 = x sigmoid(2 v), v = sqrt(2/pi) (x + 0.044715 x^3). */
INLINE vf vf_gelu_tanh(vf x) { return x * vf_sigmoid(x * (7.13548163e-2f * x * x + 1.59576912f)); }

/* x = n pi/2 + r, |r| <= pi/4, for |x| <= 8192: pi/2 in parts of 11 bits, so that their products with n are exact. */
#define TRIGONOMETRIC_RANGE 8192.0f
INLINE vf vf_reduce_sin(vf x, vi *quadrant)
{
    vf n = vf_round_small(x * 0.636619772f);
    *quadrant = __builtin_convertvector(n, vi);
    return x - n * 1.5703125f - n * 4.83751297e-4f - n * 7.54953362e-8f - n * 2.56334415e-12f;
}

/* sin(r + quadrant pi/2), |r| <= pi/4: r + r^3 p(r^2), off by 0.07 u, or 1 - r^2/2 + r^4 p(r^2), off by 0.01 u. */
INLINE vf vf_sin_quadrant(vf r, vi quadrant)
{
    vf s = r * r;
    vf odd = -1.95179091e-4f * s + 8.33218731e-3f;
    odd = odd * s - 0.166666552f;
    vf even = 2.44323364e-5f * s - 1.38873095e-3f;
    even = even * s + 4.16666456e-2f;
    vf y = vf_select((quadrant & 1) == 0, odd * s * r + r, even * s * s - 0.5f * s + 1.0f);
    return (vf)((vi)y ^ (quadrant << 30 & (int32_t)0x80000000));
}

/* x + 3 is exact where the result is small. */
INLINE vf vf_hard_swish(vf x) { return x * (vf_clamp(x + 3.0f, vf_set1(0.0f), vf_set1(6.0f)) * (1.0f / 6.0f)); }

INLINE vf vf_hard_sigmoid(vf x, float alpha, float beta)
{
    return vf_clamp(alpha * x + beta, vf_set1(0.0f), vf_set1(1.0f));
}

/* 1, -1, 0 or NaN. */
INLINE vf vf_sign(vf x)
{
    vf one = vf_with_sign(vf_set1(1.0f), x);
    return vf_select((x > 0.0f) | (x < 0.0f), one, x + 0.0f);
}
