DROP TABLE IF EXISTS console_views;
DROP TABLE IF EXISTS console_sessions;
