"""Ed25519 as RFC 8032 has it, for tests that sign what `stellarium publish` would not."""
import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE = (BASE_X, BASE_Y)
Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    both = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + both, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - both, -1, P) % P


def times(number: int, point: Point) -> Point:
    result = (0, 1)
    for bit in bin(number)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def encoded(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def digest(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def secret(seed: bytes) -> tuple[int, bytes]:
    """The scalar, and what nonces are made with."""
    whole = hashlib.sha512(seed).digest()
    return int.from_bytes(whole[:32], "little") & ~7 & (1 << 254) - 1 | 1 << 254, whole[32:]


def public_key(seed: bytes) -> bytes:
    return encoded(times(secret(seed)[0], BASE))


def sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix = secret(seed)
    key = public_key(seed)
    nonce = digest(prefix, message) % ORDER
    commitment = encoded(times(nonce, BASE))
    return commitment + ((nonce + digest(commitment, key, message) * scalar) % ORDER).to_bytes(32, "little")
