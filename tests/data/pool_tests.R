# D1 with Reiter's df, and pooled estimates, by mitml 0.4.4: Rscript pool_tests.R > pool_tests.csv
suppressMessages(library(mitml))
cat("m,q,df_com,statistic,df,riv\n")
for (m in c(3, 5, 20)) for (q in c(2, 3, 5)) {
  i <- seq_len(q)
  Q <- sapply(seq_len(m), function(j) 0.3 + 0.1 * i + 0.15 * sin(1.3 * i + 2.1 * j))
  U <- sapply(seq_len(m), function(j) { v <- cos(i + 0.5 * j); diag(0.04, q) + 0.01 * v %o% v }, simplify = "array")
  for (com in c(30, 200, NA)) {
    found <- mitml:::.D1(Q, U, if (is.na(com)) NULL else com)
    cat(sprintf("%d,%d,%s,%.15g,%.15g,%.15g\n", m, q, if (is.na(com)) "inf" else com, found$F, found$v, found$r))
  }
}
