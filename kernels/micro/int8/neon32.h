/* What 32-bit NEON lacks of the instructions of aarch64 that the integer tables use.

   It takes denormals for zeros.  Arithmetic on floats that is spelt in vector extensions is not affected: gcc does it in VFP
   instructions for that reason.  Of the functions here only those on floats could be, and what they make of a denormal and of
   zero is the same. */
#define vmovl_high_u8(x) vmovl_u8(vget_high_u8(x))
#define vmovl_high_s8(x) vmovl_s8(vget_high_s8(x))
#define vmovl_high_u16(x) vmovl_u16(vget_high_u16(x))
#define vqmovn_high_s32(low, x) vcombine_s16(low, vqmovn_s32(x))
#define vqmovun_high_s16(low, x) vcombine_u8(low, vqmovun_s16(x))
#define vmull_high_s16(a, b) vmull_s16(vget_high_s16(a), vget_high_s16(b))
#define vmlal_high_lane_s16(acc, a, b, lane) vmlal_lane_s16(acc, vget_high_s16(a), b, lane)
#define vzip1q_u8(a, b) (vzipq_u8(a, b).val[0])
#define vzip2q_u8(a, b) (vzipq_u8(a, b).val[1])
#define vzip1q_u16(a, b) (vzipq_u16(a, b).val[0])
#define vzip2q_u16(a, b) (vzipq_u16(a, b).val[1])

static inline int32x4_t vpaddq_s32(int32x4_t a, int32x4_t b)
{
    return vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)), vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
}

/* The second for NaN in the first.  (vmaxq_f32 and vminq_f32 give NaN.) */
static inline float32x4_t vmaxnmq_f32(float32x4_t x, float32x4_t number) { return vbslq_f32(vcgtq_f32(x, number), x, number); }
static inline float32x4_t vminnmq_f32(float32x4_t x, float32x4_t number) { return vbslq_f32(vcltq_f32(x, number), x, number); }

/* From 2^23 on, floats are integers; below, adding 2^23 leaves no room for a fraction. */
static inline int32x4_t vcvtnq_s32_f32(float32x4_t x)
{
    const float32x4_t a = vabsq_f32(x), whole = vdupq_n_f32(8388608.0f);
    const uint32x4_t rounded = vreinterpretq_u32_f32(vsubq_f32(vaddq_f32(a, whole), whole));
    const float32x4_t nearest = vreinterpretq_f32_u32(vbslq_u32(vdupq_n_u32(0x7fffffff), rounded, vreinterpretq_u32_f32(x)));
    return vcvtq_s32_f32(vbslq_f32(vcltq_f32(a, whole), nearest, x));
}
