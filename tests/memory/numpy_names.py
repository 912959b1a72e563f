"""What NumPy offers the public, with calls of all that takes arrays.

Calls on one line stand two spaces apart. The letters in them are shared arrays, see `arrays`. A
function is classified when it is in a call, or among those that are `WITHOUT_ARRAYS`.
"""

from __future__ import annotations

import numpy as np


def arrays() -> dict[str, np.ndarray]:
    """Return private arrays by the letters that stand for them in the calls."""
    return {
        "v": np.array([3.0, 1, 2, 5, 4, 0.5]),
        "p": np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.1]),
        "m": np.array([[4.0, 1, 0, 2], [1, 5, 2, 0], [0, 2, 6, 1], [2, 0, 1, 7]]),
        "t": np.arange(8, dtype="f4").reshape(2, 2, 2),
        "z": np.array(2.5),
        "e": np.empty((0, 3)),
        "i": np.array([3, 1, 2, 5, 4, 0]),
        "j": np.array([[3, 1], [2, 0]]),
        "b": np.array([True, False, True, False, True, True]),
        "c": np.array([[2 + 1j, 1], [1, 3 - 1j]]),
        "u": np.array([1, 2, 3, 255, 0, 7], "u1"),
        "d": np.array(["2020-01-01", "2021-05-05"], "M8[D]"),
        "s": np.array(["ab", "cd"]),
        "y": np.array([b"ab", b"cd"]),
        "r": np.array([(1, 2.0), (3, 4.0)], [("x", "i4"), ("y", "f8")]),
    }


# By module, what gives SharedArrays on shared memory and other arrays on private memory.
HONEST = {
    "np": """
all(v)  all(m, 0)  any(v)  any(m, 0)  allclose(v, v)  amax(m, 0)  amin(m, 0)  angle(c)
append(v, v)  append(m, m, 0)  apply_along_axis(np.cumsum, 0, m)  apply_over_axes(np.sum, m, [0])
arange(3, like=v)  argmax(m, 0)  argmin(m, 0)  argpartition(v, 2)  argsort(v)  argsort(m, 0)
argwhere(v)  around(v)  around(i)  array(v)  array(v, like=v)  array_equal(v, v)
array_equiv(v, v)  array_split(v, 4)  asfortranarray(m)  asanyarray(v)  astype(v, "f4")
astype(v, "f8", copy=False)  atleast_1d(z)  atleast_1d(v, z)  atleast_2d(v)  atleast_3d(v, m)
average(m, 0)  average(v, weights=p)  bincount(i, v)  block([[m, m]])  bmat([[m]])
broadcast_arrays(z, v, subok=True)  broadcast_to(v, (2, 6), subok=True)  busday_count(d, d)
busday_offset(d, 0, "forward")  choose(j, [j, j, j, j])  choose(u[:1], [v, v])  clip(v, 1, 2)
column_stack([v, v])  compress(b, v)  concat([v, v])  concatenate([m, m], 1)  convolve(v, v)
copy(v)  copy(v, subok=True)  copyto(v, p)  corrcoef(m)  correlate(v, v)  count_nonzero(m, 0)
cov(m)  cross(v[:3], v[3:])  cumprod(v)  cumsum(v)  cumulative_prod(v)  cumulative_sum(v)
datetime_as_string(d)  delete(v, 0)  delete(v, [])  diag(v)  diag(m)  diagflat(v)  diagonal(m)
diag_indices_from(m)  diff(v)  diff(v, 0)  digitize(v, v[1:4])  dot(m, m)  dsplit(t, 2)
dstack([v, v])  ediff1d(v)  einsum("ij,jk", m, m)  einsum("ij,jk", m, m, optimize=True)
einsum_path("ij,jk", m, m)  empty(3, like=v)  empty_like(v)  expand_dims(v, 0)  extract(b, v)
eye(3, like=v)  fill_diagonal(m, 5)  fix(v)  flatnonzero(v)  flip(v)  fliplr(m)  flipud(m)
frombuffer(b"x", "u1", like=v)  fromfunction(np.add, (2, 2))  fromfunction(np.add, (2, 2), like=v)
fromiter(v, "f8")  fromiter(v, "f8", like=v)  frompyfunc(abs, 1, 1)(v)
fromstring("1 2", sep=" ", like=v)  full(3, z)  full(3, 1, like=v)  full_like(v, 1)
geomspace(v, 9)  gradient(v)  gradient(m)  histogram(v)  histogram2d(v, v)  histogram_bin_edges(v)
histogramdd(m)  hsplit(v, 2)  hstack([v, v])  i0(v)  identity(2, like=v)  imag(c)  imag(v)
in1d(v, v)  indices(i[:2])  inner(m, m)  insert(v, 0, 1)  interp(v, v, v)
intersect1d(v, v, return_indices=True)  is_busday(d)  isclose(v, v)  iscomplex(c)  isin(v, v)
isneginf(v)  isposinf(v)  isreal(c)  ix_(i, i)  kaiser(3, z)  kron(m, m)  lexsort((v, i))
linspace(v, 9, 3)  linspace(z, 9)  logspace(v, 9, 3)  matrix_transpose(m)  max(m, 0)  mean(m, 0)
median(m, 0)  median(m, 0, keepdims=True)  meshgrid(v, v)  meshgrid(v, v, copy=False)
meshgrid(v, v, sparse=True, copy=False)  min(m, 0)  moveaxis(t, 0, 1)  nan_to_num(v)
nan_to_num(v, copy=False)  nanargmax(m, 0)  nanargmin(m, 0)  nancumprod(v)  nancumsum(v)
nanmax(m, 0)  nanmean(m, 0)  nanmedian(m, 0)  nanmin(m, 0)  nanpercentile(m, 5, 0)  nanprod(m, 0)
nanquantile(m, 0.5, 0)  nanstd(m, 0)  nansum(m, 0)  nanvar(m, 0)  nonzero(m)  ones(3, like=v)
ones_like(v)  outer(v, v)  packbits(u)  pad(v, 1)  partition(v, 2)  percentile(m, 5, 0)
permute_dims(m)  piecewise(v, [b], [1, 2])  place(v, b, p)  poly(v)  poly(m)  polyadd(v, v)
polyder(v)  polydiv(v, v[:2])  polyfit(v, v, 1)  polyint(v)  polymul(v, v)  polysub(v, v)
polyval(v, v)  prod(m, 0)  ptp(m, 0)  put(v, i[:2], 1)  put_along_axis(v, i, 1, 0)
putmask(v, b, p)  quantile(m, 0.5, 0)  ravel(m)  ravel(m, "F")  ravel(v)
ravel_multi_index((i, i), (9, 9))  real(c)  real(v)  real_if_close(v)  real_if_close(c)
repeat(v, 2)  require(v)  require(v, requirements="C")  reshape(v, (2, 3))  reshape(m[:, :2], -1)
resize(v, 9)  resize(v, 3)  roll(v, 1)  rollaxis(t, 2)  roots(v)  rot90(m)  rot90(m, 2)
rot90(m, 4)  round(v)  round(i)  row_stack([v, v])  searchsorted(v, v)  searchsorted(v, 3)
select([b], [v])  setdiff1d(v, v)  setxor1d(v, v)  sinc(v)  sort(v)  sort(m, None)
sort_complex(v)  split(v, 2)  squeeze(v[None])  squeeze(v)  stack([v, v])  std(m, 0)  sum(m, 0)
sum(v)  swapaxes(m, 0, 1)  take(v, i)  take(v, 0)  take_along_axis(v, i, 0)  tensordot(m, m)
tensordot(m, m, 1)  tile(v, 2)  tile(v, 1)  trace(t)  transpose(m)  trapezoid(m)  trapz(m)
tri(3, like=v)  tril(m)  tril_indices_from(m)  trim_zeros(v)  triu(m)  triu_indices_from(m)
union1d(v, v)  unique(v)  unique(v, True, True, True)  unique_all(v)  unique_counts(v)
unique_inverse(v)  unique_values(v)  unpackbits(u)  unravel_index(i, (3, 4))  unstack(m)
unwrap(v)  vander(v)  var(m, 0)  vdot(v, v)  vsplit(m, 2)  vstack([v, v])  where(b)
where(b, v, p)  zeros(3, like=v)  zeros_like(v)  nested_iters(m, [[0], [1]])[0].operands
loadtxt(["1 2"], like=v)  genfromtxt(["1 2"], like=v)  mask_indices(3, np.triu)
broadcast(v, v).iters  [x for _, x in ndenumerate(v)]  [x.copy() for x in nditer(v)]
nditer(v).operands  poly1d(v).coef  poly1d(v)(m)  vectorize(abs)(v)
vectorize(np.cumsum, signature="(n)->(n)")(m)  busdaycalendar(holidays=d).holidays  c_[v, v]
r_[v, v]  c_[v]  r_[v]  mgrid[0:2, 0:3]  index_exp[v]  s_[v, 1:2]  nditer([v, None]).operands
""",
    "np.linalg": """
cholesky(m)  cond(m)  cross(v[:3], v[3:])  det(m)  diagonal(m)  eig(m)  eigh(m)  eigvals(m)
eigvalsh(m)  inv(m)  lstsq(m, v[:4])  matmul(m, m)  matrix_norm(m, keepdims=True)
matrix_power(m, 0)  matrix_power(m, 1)  matrix_power(m, 3)  matrix_rank(m[None])
matrix_transpose(m)  multi_dot([m, m, m])  norm(m, axis=0)  outer(v, v)  pinv(m)  qr(m)
slogdet(m[None])  solve(m, m)  svd(m)  svdvals(m)  tensordot(m, m)  tensorinv(m, 1)
tensorsolve(m, v[:4])  trace(m[None])  vecdot(m, m)  vector_norm(m, axis=0)
""",
    "np.fft": """
fft(v)  fft2(m)  fftn(m)  fftshift(v)  hfft(v)  ifft(v)  ifft2(m)  ifftn(m)  ifftshift(v)
ihfft(v)  irfft(v)  irfft2(m)  irfftn(m)  rfft(v)  rfft2(m)  rfftn(m)
fft(c, out=c)
""",
    "np.random": """
beta(v, v)  binomial(i, p)  chisquare(v)  choice(v, 3)  choice(v, 3, p=p / p.sum())  choice(v)
dirichlet(v)  exponential(v)  f(v, v)  gamma(v)  geometric(p)  gumbel(v)
hypergeometric(i + 1, i, 1)
laplace(v)  logistic(v)  lognormal(v)  logseries(p)  multinomial(3, p / p.sum())
multivariate_normal(v[:4], m)  negative_binomial(v, p)  noncentral_chisquare(v, v)
noncentral_f(v, v, v)  normal(v)  pareto(v)  permutation(v)  permutation(m)  poisson(v)  power(v)
randint(0, i + 1)  rayleigh(v)  shuffle(v)  shuffle(m)  standard_gamma(v)  standard_t(v)
triangular(0, v, 9)  uniform(0, v)  vonmises(0, v)  wald(v, v)  weibull(v)  zipf(v + 1)  seed(i)
default_rng(i).random(2)  RandomState(i).rand(2)  SeedSequence(i).generate_state(2)
""",
    "np.random.Generator": """
beta(v, v)  binomial(i, p)  chisquare(v)  choice(v, 3)  choice(m, 3)  choice(v, 3, False)
dirichlet(v)  exponential(v)  f(v, v)  gamma(v)  geometric(p)  gumbel(v)
hypergeometric(i + 1, i, 1)
integers(0, i + 1)  laplace(v)  logistic(v)  lognormal(v)  logseries(p)
multinomial(i, p / p.sum())  multivariate_hypergeometric(i, 2)  multivariate_normal(v[:4], m)
negative_binomial(v, p)  noncentral_chisquare(v, v)  noncentral_f(v, v, v)  normal(v)  pareto(v)
permutation(v)  permutation(m, 1)  permuted(m, axis=0)  permuted(v)  poisson(v)  power(v)
random(6, out=v)  rayleigh(v)  shuffle(v)  shuffle(m, 1)  standard_exponential(6, out=v)
standard_gamma(v)  standard_gamma(v, out=v)  standard_normal(6, out=v)  standard_t(v)
triangular(0, v, 9)  uniform(0, v)  vonmises(0, v)  wald(v, v)  weibull(v)  zipf(v + 1)
""",
    "np.strings": """
capitalize(s)  center(s, 5)  count(s, "a")  decode(y)  encode(s)  endswith(s, "b")
expandtabs(s)  find(s, "a")  index(s[:1], "a")  ljust(s, 5)  lower(s)  lstrip(s)
mod(np.strings.add(s, "%d"), i[:2])
multiply(s, 2)  partition(s, "a")  replace(s, "a", "b")  rfind(s, "a")  rindex(s[:1], "a")
rjust(s, 5)  rpartition(s, "a")  rstrip(s)  slice(s, 1)  startswith(s, "a")  strip(s)
swapcase(s)  title(s)  translate(s, str.maketrans("a", "b"))  upper(s)  zfill(s, 5)
""",
    "np.char": """
capitalize(s)  center(s, 5)  count(s, "a")  decode(y)  encode(s)  endswith(s, "b")
expandtabs(s)  find(s, "a")  index(s[:1], "a")  ljust(s, 5)  lower(s)  lstrip(s)
mod(np.strings.add(s, "%d"), i[:2])
multiply(s, 2)  partition(s, "a")  replace(s, "a", "b")  rfind(s, "a")  rindex(s[:1], "a")
rjust(s, 5)  rpartition(s, "a")  rstrip(s)  slice(s, 1)  startswith(s, "a")  strip(s)
swapcase(s)  title(s)  translate(s, str.maketrans("a", "b"))  upper(s)  zfill(s, 5)
array(s)  array(s, copy=False)  asarray(s)
compare_chararrays(s, s, "<", True)
equal(s, s)  greater(s, s)  greater_equal(s, s)  join("-", s)  less(s, s)  less_equal(s, s)
not_equal(s, s)  rsplit(s)  split(s)  splitlines(s)
""",
    "np.emath": """
arccos(v)  arcsin(v)  arctanh(v)  log(v)  log10(v)  log2(v)  logn(2, v)  power(v, 2)  sqrt(v)
""",
    "np.lib.stride_tricks": """
sliding_window_view(v, 2, subok=True)  as_strided(v, (2,), (8,), True)
as_strided(v, (0,), (8,), True)
""",
    "np.lib.array_utils": """
byte_bounds(v)
""",
    "np.rec": """
array(r)  fromarrays([v, i])  fromrecords(r)
find_duplicate(i)
""",
    "np.ndarray": """
m.T  m.all(0)  m.any(0)  m.argmax(0)  m.argmin(0)  v.argpartition(2)  v.argsort()  m.argsort(0)
v.astype("f4")  v.astype("f8", copy=False)  v.byteswap()  v.byteswap(True)
j.choose([j, j, j, j])  v.clip(1, 2)  v.compress(b)  c.conj()  v.conj()  c.conjugate()
v.conjugate()  v.copy()  v.cumprod()  v.cumsum()  v.cumsum(out=v)  m.diagonal()  m.dot(m)
m.dot(2)  v.fill(1)  v.flat[::2]  v.flat[:]  m.flatten()  v.getfield("u1", 1)  c.imag  v.imag
v.item(0)  m.mT  m.max(0)  m.mean(0)  m.min(0)  v.nonzero()  v.partition(2)  m.prod(0)
v.put(i[:2], 1)  m.ravel()  m.ravel("F")  c.real  v.real  v.repeat(2)  v.reshape(2, 3)
m[:, :2].reshape(-1)  v.round()  i.round()  v.searchsorted(v)  v.setfield(1, "u1")  v.sort()
m.sort(0)  v[None].squeeze()  v.squeeze()  m.std(0)  m.sum(0)  m.swapaxes(0, 1)  v.take(i)
v.take(0)  v.to_device("cpu")  t.trace()  m.transpose()  m.var(0)  v.view()  v.view("u1")
v[0]  m[0]  v[:2]  v[i]  v[b]  v[...]  z[()]  v[0, ...]  r["x"]  r[["x"]]  r[0]  m[j, 0]
m[None, 1]  v.__copy__()  v.__deepcopy__({})  v.__iadd__(1)  v + 1  m.__divmod__(2)  m @ m
v.__array__("f4")  v.__array_wrap__(p)  v.__array_namespace__().sort(v)  [*m]
v.__reduce__()[0](*v.__reduce__()[1])
""",
}

# What asks the class nothing, or is asked for another one: plain views of shared memory.
PLAIN = {
    "np": """
array(v, copy=None)  asarray(v)  asarray(v, like=v)  asarray_chkfinite(v)  ascontiguousarray(v)
asmatrix(m)  broadcast_arrays(z, v)  broadcast_to(v, (2, 6))  einsum("ij->ji", m)
einsum("ii->i", m)  from_dlpack(v)  frombuffer(v, "f8")  flatiter.__array__(v.flat)
matrix(m, copy=False)  ndarray((2,), "f8", v)  recarray((2,), r.dtype, r)  [*nditer(v)]
""",
    "np.fft": """
fftn(c, axes=())
""",
    "np.random.Generator": """
permuted(v, out=np.asarray(v))
""",
    "np.char": """
chararray((2,), 2, True, s)
""",
    "np.lib.stride_tricks": """
as_strided(v, (2,), (8,))  sliding_window_view(v, 2)
""",
    "np.rec": """
array(r, copy=False)  recarray((2,), r.dtype, r)
""",
    "np.ndarray": """
v.base  v.view(np.ndarray)  v.__array__()
""",
}

# What makes a SharedArray without asking the class, and on private memory: SharedArray says it.
UNASKED = {
    "np": """
array(v, subok=True)  asanyarray(v, "f4")  require(v, "f4")
""",
}

# No array goes in, or none of NumPy's comes out.
WITHOUT_ARRAYS = {
    "np": """
array2string array_repr array_str bartlett base_repr binary_repr blackman broadcast_shapes can_cast
common_type datetime_data diag_indices errstate finfo format_float_positional
format_float_scientific fromfile fromregex get_include get_printoptions getbufsize geterr geterrcall
hamming hanning iinfo info iscomplexobj isdtype isfortran isrealobj isscalar issubdtype iterable
load may_share_memory memmap min_scalar_type mintypecode ndim ndindex ogrid printoptions
promote_types result_type save savetxt savez savez_compressed set_printoptions setbufsize seterr
seterrcall shape shares_memory show_config show_runtime size test tril_indices triu_indices typename
ufunc
""",
    "np.fft": "fftfreq rfftfreq",
    "np.random": """
BitGenerator Generator MT19937 PCG64 PCG64DXSM Philox SFC64 bytes get_state randn random_integers
random_sample ranf sample set_state standard_cauchy standard_exponential standard_normal
""",
    "np.random.Generator": "bit_generator bytes spawn standard_cauchy",
    "np.lib.array_utils": "normalize_axis_index normalize_axis_tuple",
    "np.rec": "format_parser fromfile fromstring",
    "np.ndarray": """
ctypes data device dtype dump dumps flags itemset itemsize nbytes ndim newbyteorder ptp resize
setflags shape size strides tobytes tofile tolist tostring
""",
}

# Not in every NumPy from 2.0 on.
NOT_EVERYWHERE = {
    *("np.in1d", "np.trapz", "np.row_stack", "np.cumulative_prod", "np.cumulative_sum"),
    *("np.unstack", "np.strings.partition", "np.strings.rpartition", "np.strings.slice"),
    *("np.ndarray.itemset", "np.ndarray.newbyteorder", "np.ndarray.ptp", "np.ndarray.tostring"),
}
